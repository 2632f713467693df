"""Readiness: labelled recordings that ship with the service, which the model must classify correctly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .audio import decode
from .classifier import Classifier, classify


@dataclass(frozen=True)
class Verdict:
    """What the model made of the samples.

    Attributes:
        checked: names of the samples whose word the model knows.
        wrong: of these the ones it got wrong, each as one phrase.
    """

    checked: tuple[str, ...]
    wrong: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """More than half are right; a model that knows none of the words was judged by form alone.

        Not all of them: a weak model may err on one, while a broken one (noise, the same answer always, labels
        exchanged) is right on chance's quarter.
        """
        return not self.checked or 2 * len(self.wrong) < len(self.checked)

    @property
    def summary(self) -> str:
        """One line for the log and for `/readyz`."""
        if not self.checked:
            return "The model knows none of the samples' words; only the form of its answers was checked."
        right = len(self.checked) - len(self.wrong)
        return f"{right} of {len(self.checked)} samples classified correctly{'; '.join(['', *self.wrong])}."


def check(classifier: Classifier, folder: Path, max_seconds: float) -> Verdict:
    """Classify the WAV files of `folder` (named for their words) whose words the model knows.

    Raises:
        OSError: a sample cannot be read.
        Problem: a sample is not audio.
    """
    info = classifier.info
    checked, wrong = [], []
    for path in sample_files(folder):
        if path.stem not in info.labels:
            continue
        result = classify(classifier, decode(path.read_bytes(), info.sample_rate, max_seconds).waveform)
        probabilities = result.probabilities[result.best]
        heard = info.labels[int(probabilities.argmax())]
        checked.append(path.name)
        if heard != path.stem:
            wrong.append(f"{path.name} was heard as {heard!r} ({probabilities.max():.2f})")
    return Verdict(tuple(checked), tuple(wrong))


def sample_files(folder: Path) -> list[Path]:
    """The samples in `folder`, by name."""
    return sorted(folder.glob("*.wav"))
