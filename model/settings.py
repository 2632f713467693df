"""One run: every option with its default, its bounds and its help.

The command line, the profiles, ``config.json`` and the checkpoint are all made of ``Settings``. Standard library only.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from model.errors import UserError

DEFAULT_LABELS = ("up", "down", "yes", "no")  # where a data set has any of them
CLIP_SAMPLES = 16_000  # a second at kws.audio.SAMPLE_RATE
DATA, RECIPE, RUN = "Data set", "Recipe (default: the profile's)", "Run"


def _option(default: Any, panel: str, help_: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"panel": panel, "help": help_, "low": low, "high": high})


@dataclass(frozen=True)
class Settings:
    """What a run is told. Of these and of the data the result follows, on one machine."""

    dataset: str = _option(
        "speech-commands", DATA, "speech-commands (the official archive), synthetic (spoken by espeak-ng), or a folder "
        "or archive: a folder of recordings a word."
    )  # fmt: skip
    labels: tuple[str, ...] = _option(
        (), DATA, "The words to tell apart, with commas; default: up,down,yes,no where it has them, else all its words."
    )
    only_keywords: bool = _option(False, DATA, "Neither _unknown_ from other words nor _silence_ from noise.")
    unseen_words: tuple[str, ...] | None = _option(
        None, DATA, "Other words to hold back from training, for the test, with commas; none: no word. Default: six at "
        "most, chosen by their SHA-1."
    )  # fmt: skip
    speaker_pattern: str = _option(
        "", DATA, "Regular expression whose first group is the speaker in PATH of WORD/PATH; default: what stands "
        "before _nohash_, else the folder below the word."
    )  # fmt: skip
    licence: str = _option("", DATA, "Of the data, where the data set does not say it.")
    attribution: str = _option("", DATA, "Whom the data's licence asks to be named.")
    dataset_url: str = _option(
        "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        DATA,
        "Where speech-commands is fetched from, a mirror say.",
    )
    dataset_sha256: str = _option(  # stands in torchaudio's source, too
        "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58", DATA, "What it must hash to."
    )
    synthetic_size: int = _option(400, DATA, "Clips a word of synthetic.", 10, 100_000)
    synthetic_seed: int = _option(0, DATA, "Seed of synthetic.", 0, 2**31 - 1)

    unknown_share: float = _option(
        1.0, RECIPE, "Clips of other words an epoch, as a share of a keyword's clips.", 0.01, 100
    )
    silence_share: float = _option(
        0.5, RECIPE, "Clips without a word an epoch, as a share of a keyword's clips.", 0.01, 100
    )
    epochs: int = _option(120, RECIPE, "Passes over the training split.", 1, 10_000)
    batch_size: int = _option(128, RECIPE, "Clips a step.", 2, 65_536)
    learning_rate: float = _option(8e-3, RECIPE, "Peak of the one-cycle schedule.", 1e-8, 10)
    weight_decay: float = _option(1e-2, RECIPE, "Of AdamW.", 0, 10)
    warmup: float = _option(0.15, RECIPE, "Share of the steps before the peak.", 0, 0.9)
    label_smoothing: float = _option(0.1, RECIPE, "Share of the target spread over all labels.", 0, 0.9)
    dropout: float = _option(0.3, RECIPE, "Before the last layer.", 0, 0.95)
    mixup: float = _option(0.2, RECIPE, "Alpha of mixup's Beta distribution; 0: none.", 0, 10)
    ema_decay: float = _option(0.995, RECIPE, "Of the averaged weights, a step.", 0, 0.99999)
    width: float = _option(1.5, RECIPE, "Multiplies the network's channels.", 0.25, 8)
    noise_probability: float = _option(0.7, RECIPE, "Of background noise in a clip.", 0, 1)
    band_probability: float = _option(0.2, RECIPE, "Of a narrow channel, a telephone's say.", 0, 1)
    max_shift: int = _option(11, RECIPE, "Frames of 16 ms that a clip is moved at most.", 0, 30)
    speed_copies: bool = _option(True, RECIPE, "Also train on the clips played 10 % slower and faster.")
    stream_hours: float = _option(
        1.0, RECIPE, "Hours of running audio to choose the detection rule on, and to test it on; 0: neither.", 0, 1000
    )

    profile: str = _option("standard", RUN, "quick, standard or best: fast, good in two minutes, as good as it gets.")
    seed: int = _option(0, RUN, "Same seed, same data, same machine: same model.", 0, 2**31 - 1)
    threads: int = _option(
        0, RUN, "Threads that read, compute features and evaluate; 0: the processors, up to 4.", 0, 1024
    )

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    def of_weights(self) -> dict[str, Any]:
        """The settings that trained weights depend on, beside the corpus."""
        recipe = {each.name for each in fields(self) if each.metadata["panel"] == RECIPE} - {"stream_hours"}
        return {name: value for name, value in self.to_dict().items() if name in recipe | {"seed"}}

    @property
    def workers(self) -> int:
        """Threads to use; the processes that ``torchrun`` started on one machine share its processors."""
        shared = max(1, processors() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        return self.threads or min(4, shared)


# What each profile changes, chosen on the validation split (docs/model.md).
PROFILES: dict[str, dict[str, Any]] = {
    "quick": {
        "epochs": 20,
        "ema_decay": 0.95,
        "dropout": 0.2,
        "mixup": 0.0,
        "width": 1.0,
        "noise_probability": 0.5,
        "band_probability": 0.0,
        "max_shift": 6,
        "stream_hours": 0.25,
    },
    "standard": {},
    "best": {"epochs": 200, "width": 2.0, "stream_hours": 6.0},
}


def make_settings(chosen: Mapping[str, Any], former: Mapping[str, Any] | None = None) -> Settings:
    """The profile's settings, with what the user chose (``None``: not chosen) on top.

    ``former`` are the settings of a run to repeat: they take the profile's place, but for the recipe where another
    profile is chosen beside them.

    Raises:
        UserError: an unknown profile or name, or a value out of its bounds.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    base = dict(former or {})
    if unknown := sorted(base.keys() - {each.name for each in fields(Settings)}):
        raise UserError(f"--config has settings that this version does not know: {', '.join(unknown)}")
    profile = given.get("profile") or base.get("profile") or Settings.profile
    if profile not in PROFILES:
        raise UserError(f"--profile '{profile}' is unknown; choose one of {', '.join(PROFILES)}")
    if "profile" in given:
        base = {each.name: base[each.name] for each in fields(Settings)
                if each.name in base and each.metadata["panel"] != RECIPE}  # fmt: skip
    if not former or "profile" in given:
        base |= PROFILES[profile]
    settings = replace(Settings(), **{name: _plain(value) for name, value in {**base, **given}.items()})
    for each in fields(Settings):
        value, low, high = getattr(settings, each.name), each.metadata["low"], each.metadata["high"]
        if low is not None and not (isinstance(value, int | float) and low <= value <= high):  # also catches NaN
            raise UserError(f"{option_name(each.name)} {value} is out of range; give {low:g} to {high:g}")
    if settings.labels:
        check_labels(settings.labels)
    return settings


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def read_config(path: Path) -> dict[str, Any]:
    """The content of a run's ``config.json``.

    Raises:
        UserError: it is not there, or no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        kinds = {"settings": dict, "versions": dict, "data_digest": str}
        if not all(isinstance(content[name], kind) for name, kind in kinds.items()):
            raise TypeError
    except OSError as error:
        raise UserError(f"--config '{path}' cannot be read ({error.strerror}); give a run's config.json") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"--config '{path}' is no config.json of a run; give one that train wrote") from error
    return dict(content)


def option_name(name: str) -> str:
    """The command-line option of a settings field: ``batch_size`` -> ``--batch-size``."""
    return "--" + name.replace("_", "-")


def check_labels(labels: tuple[str, ...]) -> None:
    """Raises UserError: a word twice, or one that cannot be the name of a folder."""
    text = ",".join(labels)
    if len(set(labels)) != len(labels):
        raise UserError(f"--labels '{text}' names a word twice; name each once")
    for label in labels:
        if label.startswith((".", "_")) or "/" in label or "\\" in label or not label.isprintable():
            raise UserError(f"--labels: '{label}' cannot be the name of a word's folder; use plain words")


def split_words(text: str) -> tuple[str, ...]:
    """``"up, down"`` -> ``("up", "down")``; ``"none"`` -> ``()``."""
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    return () if words == ("none",) else words


def processors() -> int:
    """The processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
