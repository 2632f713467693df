"""What a model says of the test split's clips, and of clips without a keyword: accuracy and the operating point."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from kws.audio import SAMPLE_RATE, Waveform
from kws.detection import Probabilities
from kws.model_file import Model
from model.calibration import RULE, Targets, accepted, keyword_mask
from model.corpus import Corpus
from model.data.recording import as_recorded
from model.settings import CLIP_SAMPLES

OTHERS, QUIET = "other words", "noise and near-silence"
_CHUNK = 1024  # clips read at once: of the official archive's words there are too many to hold in memory
_QUIET_DB = (0.0, -20.0, -40.0)  # levels of the background recordings, beside as recorded
_MOST_QUIET = 1000  # windows of background recordings, all levels together


def share(hits: npt.NDArray[np.bool_] | Sequence[bool]) -> dict[str, Any]:
    """``bool[clips]`` -> how many, of how many, the share (0 where there is nothing) and its 95 % score interval
    (Wilson 1927), which is honest for few clips and for shares near 1."""
    count, total = int(np.sum(hits)), len(hits)
    interval = binomtest(count, total).proportion_ci(0.95, "wilson") if total else (0.0, 1.0)
    found = {"count": count, "clips": total, "share": count / total if total else 0.0}
    return {**found, "interval_95": [float(bound) for bound in interval]}


def figures(
    probabilities: Probabilities, targets: Targets, labels: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """The figures of ``probabilities [clips, classes]`` and ``targets [clips]``, with the clips' names.

    ``confusion_matrix[i][j]`` counts the clips of label i that were taken for label j. A ratio without a case (nothing
    predicted, nothing there) is 0. ``loss`` is the mean cross-entropy. ``mistakes`` come the surest first.
    """
    predicted, classes = probabilities.argmax(axis=1), list(range(len(labels)))
    right, sure = predicted == targets, probabilities.max(axis=1)
    every, heard = share(right), share(right[keyword_mask(labels)[targets]])
    of_target = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    by_class = precision_recall_fscore_support(targets, predicted, labels=classes, zero_division=0)
    mistakes = sorted(np.flatnonzero(~right).tolist(), key=lambda row: (-sure[row], names[row]))
    what = ("clip", "label", "prediction", "probability")
    wrong = [(names[row], labels[targets[row]], labels[predicted[row]], float(sure[row])) for row in mistakes]
    return {
        "n": every["clips"],
        "correct": every["count"],
        "accuracy": every["share"],
        "accuracy_interval_95": every["interval_95"],
        "keyword_accuracy": heard["share"],
        "keyword_accuracy_interval_95": heard["interval_95"],
        "keyword_clips": heard["clips"],
        "loss": float(-np.log(np.maximum(of_target, 1e-12)).mean()),
        "labels": list(labels),
        "per_class": {
            label: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "clips": int(clips)}
            for label, precision, recall, f1, clips in zip(labels, *by_class, strict=True)
        },
        "confusion_matrix": confusion_matrix(targets, predicted, labels=classes).tolist(),
        "mistakes": [dict(zip(what, mistake, strict=True)) for mistake in wrong],
    }


def operating_point(model: Model, corpus: Corpus, probabilities: Probabilities, targets: Targets) -> dict[str, Any]:
    """Keywords of the test split accepted as themselves, and what else of it is accepted as one, at the threshold.

    ``probabilities [clips, classes]`` and ``targets [clips]`` are of clips of all kinds, of which the keywords count.
    """
    labels, threshold, others = model.info.labels, model.info.threshold, corpus.others["testing"]
    right = accepted(probabilities, labels, threshold) & (probabilities.argmax(axis=1) == targets)
    parts = [model(corpus.read(others[start : start + _CHUNK])) for start in range(0, len(others), _CHUNK)]
    groups = {OTHERS: np.concatenate(parts)} if others else {}
    groups[QUIET] = model(quiet(corpus.noise_waveforms["testing"]))
    taken = {kind: accepted(group, labels, threshold) for kind, group in groups.items()}
    words = np.array([clip.word for clip in others])
    by_word = {word: share(taken[OTHERS][words == word]) for word in sorted({*words.tolist()})}
    return {
        "rule": RULE,
        "threshold": threshold,
        "recall": share(right[keyword_mask(labels)[targets]]),
        "false_accepts": {kind: share(found) for kind, found in taken.items()},
        "other_words": dict(sorted(by_word.items(), key=lambda item: -item[1]["share"])),  # the worst first
    }


def quiet(noise: Sequence[Waveform]) -> Waveform:
    """Clips without a voice, ``float32[n, CLIP_SAMPLES]``: background recordings at three levels, hiss of -50 dBFS down
    to the last bit, digital silence, offsets."""
    windows = [sliding_window_view(piece, CLIP_SAMPLES)[:: SAMPLE_RATE // 10] for piece in noise]
    stride = max(1, -(-len(_QUIET_DB) * sum(map(len, windows)) // _MOST_QUIET))
    parts = [each[::stride] * np.float32(10 ** (db / 20)) for each in windows for db in _QUIET_DB]
    rng, one = np.random.default_rng(0), np.ones((1, CLIP_SAMPLES), np.float32)
    hiss = [rng.normal(0, 10 ** (dbfs / 20), (10, CLIP_SAMPLES)).astype(np.float32) for dbfs in range(-50, -100, -10)]
    return np.concatenate([*map(as_recorded, [*parts, *hiss, 0 * one, 0.01 * one, one / 32_768])])


def digest(names: Sequence[str], waveforms: Waveform) -> str:
    """The SHA-256 over names and contents (16-bit samples) of clips: equal for the same clips, in whatever order."""
    samples = (np.rint(waveform * 32_768).astype("<i4").tobytes() for waveform in waveforms)
    clips = (f"{name}\n".encode() + content for name, content in zip(names, samples, strict=True))
    return hashlib.sha256("\n".join(sorted(hashlib.sha256(clip).hexdigest() for clip in clips)).encode()).hexdigest()
