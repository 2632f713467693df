"""What a model hears in a file of any length, by the rule that the service follows.

A recording shorter than a clip is padded with zeros at its end, as in training. From a longer one windows are taken:
every quarter of a clip, and one that ends where the recording ends. Of the loudest ones (within ``SAME_SOUND_DB``: they
hold the same sound) the most confident speaks for the recording.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from model.audio import Samples
from model.inference import OnnxModel, Probabilities
from model.markdown import padded_table
from model.settings import SAMPLE_RATE, is_keyword

SAME_SOUND_DB = 0.5
WINDOWS_PER_CLIP = 4


@dataclass(frozen=True)
class Prediction:
    """What was heard.

    Attributes:
        starts: seconds, of each window.
        levels: dBFS (root mean square), of each window.
        probabilities: ``float32[windows, classes]``.
        best: index of the window that speaks for the recording.
        labels: of the classes.
        threshold: below it a keyword is not accepted; None where the model does not say.
    """

    starts: list[float]
    levels: list[float]
    probabilities: Probabilities
    best: int
    labels: tuple[str, ...]
    threshold: float | None

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.labels[int(self.probabilities[self.best].argmax())]

    @property
    def probability(self) -> float:
        """How sure the model is of it."""
        return float(self.probabilities[self.best].max())

    @property
    def accepted(self) -> bool:
        """Whether a keyword was heard, surely enough."""
        return is_keyword(self.label) and self.probability >= (self.threshold or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the windows of a longer recording in ``windows``."""
        return {
            "prediction": self.label,
            "accepted": self.accepted,
            "threshold": self.threshold,
            "probabilities": self._by_label(self.best),
            "windows": [
                {"start": start, "level_dbfs": round(level, 1), "probabilities": self._by_label(index)}
                for index, (start, level) in enumerate(zip(self.starts, self.levels, strict=True))
            ],
        }

    def _by_label(self, window: int) -> dict[str, float]:
        return {label: round(float(p), 6) for label, p in zip(self.labels, self.probabilities[window], strict=True)}


def predict(model: OnnxModel, samples: Samples) -> Prediction:
    """Classify ``float32[samples]`` at 16 kHz, of any length but 0."""
    size = model.clip_samples
    if samples.size < size:
        samples = np.pad(samples, (0, size - samples.size))
    last = samples.size - size
    starts = [*range(0, last, size // WINDOWS_PER_CLIP), last]
    windows = sliding_window_view(samples, size)[starts]
    probabilities = model(windows)
    levels = 10 * np.log10(np.einsum("ws,ws->w", windows, windows) / size + 1e-12)
    candidates = np.where(levels >= levels.max() - SAME_SOUND_DB, probabilities.max(axis=1), -1.0)
    return Prediction(
        [start / SAMPLE_RATE for start in starts],
        levels.tolist(),
        probabilities,
        int(candidates.argmax()),
        model.labels,
        model.threshold,
    )


def render(predictions: Mapping[str, Prediction], every_window: bool = False) -> str:
    """A table for a terminal: a line a file, or a line a window, ``*`` at the one that speaks for its file."""
    labels = next(iter(predictions.values())).labels
    rows = []
    for name, found in predictions.items():
        for index in range(len(found.starts)) if every_window else [found.best]:
            probabilities = found.probabilities[index]
            heard = found.labels[int(probabilities.argmax())]
            place = [f"{found.starts[index]:.2f} s{' *' if index == found.best else ''}"] if every_window else []
            sure = [f"{100 * p:.1f} %" for p in probabilities]
            rows.append([name, *place, heard if found.accepted or index != found.best else f"({heard})", *sure])
    header = ["file", *(["window at"] if every_window else []), "heard", *labels]
    notes = []
    if any(not found.accepted and is_keyword(found.label) for found in predictions.values()):
        notes.append(f"In brackets: below the model's threshold of {next(iter(predictions.values())).threshold:.2f}.")
    return "\n\n".join([padded_table(header, rows), *notes])
