"""A corpus and a model in memory, for tests that need neither files nor training."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile

from kws.audio import SAMPLE_RATE, Waveform
from kws.detection import Probabilities, Rule, is_keyword
from model.data.speech import Recording, Speech
from model.settings import CLIP_SAMPLES

LABELS = ("low", "high", "_unknown_", "_silence_")
TONES = {"low": 400, "high": 1200, "_unknown_": 2500}
NOISE = np.random.default_rng(0).normal(0, 0.05, 4 * SAMPLE_RATE).astype(np.float32)


def tone(frequency: float, level: float = 0.3, samples: int = CLIP_SAMPLES) -> Waveform:
    """A sine."""
    return (level * np.sin(2 * np.pi * frequency * np.arange(samples) / SAMPLE_RATE)).astype(np.float32)


def sure(answer: int, probability: float) -> list[float]:
    """The probabilities of three classes, of which one has this much."""
    return [probability if index == answer else (1 - probability) / 2 for index in range(3)]


def word(label: str, like_low: float = 0.0) -> Waveform:
    """A clip with half a second of a label's tone in its middle; ``like_low`` of it is the tone of ``low``."""
    clip = np.zeros(CLIP_SAMPLES, np.float32)
    for of, share in ((label, 1 - like_low), ("low", like_low)):
        clip[4000:12000] += share * tone(TONES[of], samples=8000)
    return clip


QUIET = np.random.default_rng(0).normal(0, 1e-4, 2 * SAMPLE_RATE).astype(np.float32)


def recording(folder: Path, name: str, *sounds: tuple[str, float], words: str | None = "") -> Recording:
    """Clips of labels that are this much like ``low``, with pauses; ``words`` is the transcript, None of unknown."""
    parts = [QUIET, *(part for label, like_low in sounds for part in (word(label, like_low), QUIET))]
    path = folder / f"{name}.wav"
    soundfile.write(path, np.concatenate(parts), SAMPLE_RATE)
    return Recording(path, name, None if words is None else frozenset(words.split()))


def running_speech(folder: Path) -> Speech:
    """Of each split two recordings without a keyword, one of which sounds a little like ``low``; one with ``high``."""
    found, other = Speech("spoken", "others"), ("_unknown_", 0.0)
    for split in ("validation", "testing"):
        found.without[split] = [
            recording(folder, f"{split}-a", other, ("_unknown_", 0.55), other),
            recording(folder, f"{split}-b", other, other, words=None),
        ]
        found.holding[split] = [recording(folder, f"{split}-c", other, ("high", 0.0), words="bird high")]
    return found


class ToneModel:
    """Hears words by the power at each label's tone, ``_silence_`` by all other power; in place of a model file."""

    def __init__(
        self,
        labels: tuple[str, ...] = LABELS,
        threshold: float = 0.5,
        rule: Rule | None = None,
        sensitivities: dict[str, float] | None = None,
        **metadata: str,
    ) -> None:
        keywords = tuple(label for label in labels if is_keyword(label))
        named: dict[str, Any] = {"version": "abc", "threshold": threshold, "rule": rule or Rule(0.1, 3, 0.6, 0.8)}
        named |= {"sample_rate": SAMPLE_RATE, "clip_samples": CLIP_SAMPLES, "sensitivities": sensitivities or {}}
        self.info = SimpleNamespace(labels=labels, keywords=keywords, metadata=metadata, **named)

    def __call__(self, windows: Waveform) -> Probabilities:
        """float32[windows, classes]"""
        frames = windows.reshape(len(windows), 10, -1)
        time = np.arange(frames.shape[2]) / SAMPLE_RATE
        waves = np.exp(-2j * np.pi * np.outer(list(TONES.values()), time)).astype(np.complex64)
        # No matrix product: its threads wait for one another where others use the processors.
        found = np.stack([np.einsum("wfs,s->wf", frames, wave) for wave in waves], axis=2)
        power = (2 * np.abs(found / frames.shape[2]) ** 2).mean(axis=1)
        rest = np.maximum(0, np.mean(windows**2, axis=1, keepdims=True) - power.sum(axis=1, keepdims=True)) + 1e-9
        every = dict(zip(LABELS, np.concatenate([power + 1e-12, rest], axis=1).T, strict=True))
        heard = np.stack([every[label] for label in self.info.labels], axis=1)
        return np.asarray(heard / heard.sum(axis=1, keepdims=True), np.float32)


@dataclass(frozen=True)
class Clip:
    """As ``model.data.layout.Clip``, with its samples."""

    name: str
    word: str
    split: str
    waveform: Waveform = field(default_factory=lambda: np.zeros(CLIP_SAMPLES, np.float32))


def clip(text: str, split: str, number: int, sound: str = "", like_low: float = 0.0) -> Clip:
    """A recording of the word ``text`` that sounds like the label ``sound``."""
    return Clip(f"{text}/{number}.wav", text, split, word(sound or text, like_low))


def corpus(**changes: Any) -> Any:
    """Six clips a keyword in each split, other words (``bird``), a word held back (``tree``), noise."""
    splits, others = {}, {}
    for split in ("training", "validation", "testing"):
        others[split] = tuple(clip("bird", split, number, "_unknown_") for number in range(3))
        spoken = [clip(label, split, number) for label in ("low", "high") for number in range(6)]
        quiet = [Clip(f"_silence_/{split}_{number}", "_silence_", split) for number in range(2)]
        clips = (*spoken, *others[split], *quiet)
        targets = [LABELS.index(each.word if each.word in LABELS else "_unknown_") for each in clips]
        splits[split] = SimpleNamespace(clips=clips, targets=np.array(targets))
    unseen = tuple(clip("tree", split, number, "_unknown_") for split in splits for number in range(2))
    every = [each for split in splits.values() for each in split.clips]
    data: dict[str, Any] = {"name": "tones", "licence": "MIT", "attribution": "", "split_rule": "hand", "notes": ()}
    dataset = SimpleNamespace(**data, synthetic=True, speakers_known=True, clips=(*every, *unseen))
    found = SimpleNamespace(
        labels=LABELS, splits=splits, others=others, unseen=unseen, dataset=dataset, digest="d", unseen_words=("tree",)
    )
    found.speech = Speech("others")
    found.noise_waveforms = {split: [NOISE] for split in splits}
    found.read = lambda clips: np.array([each.waveform for each in clips], np.float32).reshape(-1, CLIP_SAMPLES)
    found.waveforms = lambda split: found.read(found.splits[split].clips)
    for name, value in changes.items():
        setattr(found if hasattr(found, name) else dataset, name, value)
    return found
