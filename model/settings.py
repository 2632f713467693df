"""What a training run is told: the recipe's numbers, its profiles, and their limits. Standard library only."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from model.errors import UserError

LABELS = ("up", "down", "yes", "no")
SAMPLE_RATE = 16_000
CLIP_SAMPLES = 16_000
UNKNOWN, SILENCE = "_unknown_", "_silence_"  # classes beside the keywords: any other word, no word at all


def is_keyword(label: str) -> bool:
    """Whether a class is a word to be spotted: all but ``UNKNOWN`` and ``SILENCE``, as no word's folder is called."""
    return not label.startswith("_")


@dataclass(frozen=True)
class Settings:
    """One training run. Everything that changes the result is in here, and nothing else does, on one machine."""

    labels: tuple[str, ...] = LABELS  # the keywords
    only_keywords: bool = False  # neither _unknown_ nor _silence_, whatever the data set has
    unseen_words: tuple[str, ...] | None = None  # held back from training; None: chosen by the rule in classes.py
    unknown_share: float = 1.0  # clips of other words an epoch (and in the other splits), of a keyword's mean
    silence_share: float = 0.5  # the same of clips without a word, an epoch
    profile: str = "standard"
    epochs: int = 120
    batch_size: int = 128
    learning_rate: float = 8e-3  # peak of the one-cycle schedule
    weight_decay: float = 1e-2
    warmup: float = 0.15  # share of the steps before the peak
    label_smoothing: float = 0.1
    dropout: float = 0.3
    mixup: float = 0.2  # alpha of the Beta distribution; 0 turns mixing off
    ema_decay: float = 0.995
    width: float = 1.5
    noise_probability: float = 0.7
    band_probability: float = 0.2  # of a narrow channel
    max_shift: int = 11  # frames of 16 ms
    speed_copies: bool = True
    stream_hours: float = 1.0  # of running audio to test on
    seed: int = 0
    threads: int = 1

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        unseen = None if self.unseen_words is None else list(self.unseen_words)
        return {**asdict(self), "labels": list(self.labels), "unseen_words": unseen}


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

# name: (lowest, highest) value allowed, both included.
_BOUNDS: dict[str, tuple[float, float]] = {
    "epochs": (1, 10_000),
    "batch_size": (2, 65_536),
    "learning_rate": (1e-8, 10.0),
    "weight_decay": (0.0, 10.0),
    "warmup": (0.0, 0.9),
    "label_smoothing": (0.0, 0.9),
    "dropout": (0.0, 0.95),
    "mixup": (0.0, 10.0),
    "ema_decay": (0.0, 0.99999),
    "width": (0.25, 8.0),
    "noise_probability": (0.0, 1.0),
    "band_probability": (0.0, 1.0),
    "max_shift": (0, 30),
    "unknown_share": (0.01, 100.0),
    "silence_share": (0.01, 100.0),
    "stream_hours": (0.0, 1000.0),
    "seed": (0, 2**31 - 1),
    "threads": (1, 1024),
}


def option_name(field: str) -> str:
    """The command-line option of a settings field: ``batch_size`` -> ``--batch-size``."""
    return "--" + field.replace("_", "-")


def parse_labels(text: str) -> tuple[str, ...]:
    """``"up,down"`` -> ``("up", "down")``.

    Raises:
        UserError: fewer than two words, a word twice, or one that cannot be the name of a folder.
    """
    labels = tuple(word.strip() for word in text.split(",") if word.strip())
    if len(labels) < 2:
        raise UserError(f"--labels '{text}' names fewer than two words; give them as up,down,yes,no")
    if len(set(labels)) != len(labels):
        raise UserError(f"--labels '{text}' names a word twice; name each once")
    for label in labels:
        if label.startswith((".", "_")) or "/" in label or "\\" in label or not label.isprintable():
            raise UserError(f"--labels: '{label}' cannot be the name of a word's folder; use plain words")
    return labels


def parse_unseen(text: str) -> tuple[str, ...] | None:
    """``"bed,cat"`` -> ``("bed", "cat")``; ``"none"`` -> ``()``; ``""`` -> None, for the rule's own choice."""
    words = tuple(sorted({word.strip() for word in text.split(",") if word.strip()}))
    return None if not words else () if words == ("none",) else words


def make_settings(profile: str, **chosen: Any) -> Settings:
    """A profile's settings, with what the user chose (``None`` means not chosen) on top.

    Raises:
        UserError: an unknown profile, or a value out of its bounds.
    """
    if profile not in PROFILES:
        raise UserError(f"--profile '{profile}' is unknown; choose one of {', '.join(PROFILES)}")
    values = {**PROFILES[profile], **{name: value for name, value in chosen.items() if value is not None}}
    settings = replace(Settings(profile=profile), **values)
    for name, (lowest, highest) in _BOUNDS.items():
        value = getattr(settings, name)
        if not lowest <= value <= highest:  # also catches NaN
            raise UserError(f"{option_name(name)} {value} is out of range; give {lowest:g} to {highest:g}")
    return settings
