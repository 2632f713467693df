"""One run: every option with its default, its bounds and its help.

The command line, the profiles, ``config.json`` and the checkpoint are all made of ``Settings``. Standard library only.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

from model.errors import UserError

DEFAULT_LABELS = ("up", "down", "yes", "no")  # where a data set has all of them
CLIP_SAMPLES = 16_000  # a second at kws.audio.SAMPLE_RATE
DATA, RECIPE, RUN = "Data set", "Recipe (default: the profile's)", "Run"
MOST_SEED = 2**31 - 1
OFFICIAL = "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
OFFICIAL_SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"  # in torchaudio's source, too


def _option(panel: str, default: Any, help_: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"panel": panel, "help": help_, "low": low, "high": high})


_data, _recipe, _run = (partial(_option, panel) for panel in (DATA, RECIPE, RUN))


@dataclass(frozen=True)
class Settings:
    """What a run is told. On one machine, these and the data determine the result."""

    dataset: str = _data("speech-commands", "speech-commands, synthetic, or a folder or archive with a folder a word.")
    labels: tuple[str, ...] = _data(
        (), "The words to tell apart, with commas; default: up,down,yes,no where it has them, else all its words."
    )
    speaker_pattern: str = _data(
        "",
        "Regular expression whose first group is the speaker in WORD/PATH; default: up to _nohash_, else the folder.",
    )
    licence: str = _data("", "Of the data, where the data set does not say it.")
    attribution: str = _data("", "Whom the data's licence asks to be named.")
    dataset_url: str = _data(OFFICIAL, "Where speech-commands is fetched from, a mirror say.")
    dataset_sha256: str = _data(OFFICIAL_SHA256, "What it must hash to.")
    speech: str = _data(
        "",
        "Running speech to train on: librispeech, a folder or archive, spoken (by espeak-ng) or none; "
        "default: librispeech beside speech-commands, else spoken.",
    )
    speech_evaluation: str = _data(
        "", "The same, of other people, to judge with; default: librispeech, else other readers of --speech."
    )
    speech_url: str = _data("https://www.openslr.org/resources/12", "Where librispeech is fetched from.")
    negatives: str = _data("", "Folder of long recordings without keywords: your rooms, television, music.")
    synthetic_size: int = _data(400, "Clips a word of synthetic.", 10, 100_000)
    synthetic_seed: int = _data(0, "Seed of synthetic.", 0, MOST_SEED)

    unknown_share: float = _recipe(1.0, "Clips of other words an epoch, as a share of a keyword's clips.", 0.01, 100)
    silence_share: float = _recipe(0.5, "Clips without a word an epoch, as a share of a keyword's clips.", 0.01, 100)
    speech_share: float = _recipe(0.42, "Share of an epoch's clips that are crops of running speech.", 0, 0.95)
    epochs: int = _recipe(170, "Passes over the training split.", 1, 10_000)
    batch_size: int = _recipe(256, "Clips a step.", 2, 65_536)
    learning_rate: float = _recipe(8e-3, "Peak of the one-cycle schedule.", 1e-8, 10)
    weight_decay: float = _recipe(1e-2, "Of Muon and AdamW.", 0, 10)
    muon: bool = _recipe(True, "Muon trains the convolutions; else AdamW trains all.")
    warmup: float = _recipe(0.15, "Share of the steps before the peak.", 0, 0.9)
    label_smoothing: float = _recipe(0.0, "Share of the target spread over all labels.", 0, 0.9)
    dropout: float = _recipe(0.3, "Before the last layer.", 0, 0.95)
    mixup: float = _recipe(0.2, "Alpha of mixup's Beta distribution; 0: none.", 0, 10)
    ema_decay: float = _recipe(0.995, "Of the averaged weights, a step.", 0, 0.99999)
    width: float = _recipe(1.7, "Multiplies the network's channels.", 0.25, 8)
    noise_probability: float = _recipe(0.7, "Of background noise in a clip.", 0, 1)
    band_probability: float = _recipe(0.2, "Of a narrow channel, a telephone's say.", 0, 1)
    max_shift: int = _recipe(11, "Frames of 16 ms that a clip is moved at most.", 0, 30)
    speed_copies: bool = _recipe(True, "Also train on the clips played 10 % slower and faster.")

    false_accepts_per_hour: float = _run(1.0, "Allowed in running audio: the rule is chosen by it.", 0.01, 1000)
    profile: str = _run("standard", "quick, standard or best: fast, good in three minutes, as good as it gets.")
    seed: int = _run(0, "Same seed, same data, same machine: same model.", 0, MOST_SEED)
    threads: int = _run(0, "Threads that read, compute features and evaluate; 0: processors, up to 4.", 0, 1024)

    @property
    def workers(self) -> int:
        return self.threads or min(4, processors())


# What each profile changes, chosen on the validation split (docs/model.md).
PROFILES: dict[str, dict[str, Any]] = {
    "quick": {"epochs": 36, "ema_decay": 0.96, "dropout": 0.2, "mixup": 0.0, "width": 1.0}
    | {"label_smoothing": 0.1, "noise_probability": 0.5, "band_probability": 0.0, "max_shift": 6},
    "standard": {},
    "best": {"epochs": 500, "width": 2.0, "muon": False},
}


def make_settings(chosen: Mapping[str, Any]) -> Settings:
    """The profile's settings, with what the user chose (``None``: not chosen) on top.

    Raises UserError: an unknown profile, or a value out of its bounds.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    profile = given.get("profile") or Settings.profile
    if profile not in PROFILES:
        raise UserError(f"--profile '{profile}' is unknown; choose one of {', '.join(PROFILES)}")
    words = given.pop("labels", ())
    words = words.split(",") if isinstance(words, str) else words
    labels = tuple(word.strip() for word in words if word.strip())
    settings = replace(Settings(labels=labels), **{**PROFILES[profile], **given})
    for each in fields(Settings):
        value, low, high = getattr(settings, each.name), each.metadata["low"], each.metadata["high"]
        if low is not None and not (isinstance(value, int | float) and low <= value <= high):  # also catches NaN
            raise UserError(f"{option_name(each.name)} {value} is out of range; give {low:g} to {high:.10g}")
    if len(set(settings.labels)) != len(settings.labels):
        raise UserError(f"--labels '{','.join(settings.labels)}' names a word twice; name each once")
    for label in settings.labels:
        if label.startswith((".", "_")) or "/" in label or "\\" in label or not label.isprintable():
            raise UserError(f"--labels: '{label}' cannot be the name of a word's folder; use plain words")
    return settings


def option_name(name: str) -> str:
    """The command-line option of a settings field: ``batch_size`` -> ``--batch-size``."""
    return "--" + name.replace("_", "-")


def processors() -> int:
    """The processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
