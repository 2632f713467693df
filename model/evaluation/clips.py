"""What a model says of the test split's clips, and of clips without a keyword: accuracy and the operating point."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

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
from model.data.layout import Clip
from model.data.recording import as_recorded
from model.settings import CLIP_SAMPLES

UNSEEN, KNOWN, QUIET = "unseen words", "known other words", "noise and near-silence"
# Where the curve is told; finer where models are surest.
_THRESHOLDS = (*(step / 20 for step in range(19)), 0.925, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999)
_EXAMPLES = 50
_CHUNK = 1024  # clips read at once: of the official archive's words there are too many to hold in memory
_QUIET_DB = (0.0, -20.0, -40.0)  # levels of the background recordings, beside as recorded
_MOST_QUIET = 1000  # windows of background recordings, all levels together


class Group(NamedTuple):
    """Clips without a keyword: their names, the word that each says, and what the model said of them."""

    names: list[str]
    words: list[str]
    probabilities: Probabilities  # float32[clips, classes]


def share(hits: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """``bool[clips]`` -> how many, of how many, the share (0 where there is nothing) and its 95 % interval.

    The interval is the score interval (Wilson 1927); honest for few clips and for shares near 1.
    """
    count, total = int(hits.sum()), len(hits)
    interval = binomtest(count, total).proportion_ci(0.95, "wilson") if total else (0.0, 1.0)
    found = {"count": count, "clips": total, "share": count / total if total else 0.0}
    return {**found, "interval_95": [float(bound) for bound in interval]}


def figures(
    probabilities: Probabilities, targets: Targets, labels: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """The figures of ``probabilities [clips, classes]`` and ``targets [clips]``, with the clips' names.

    ``confusion_matrix[i][j]`` counts the clips of label i that were taken for label j. A ratio without a case (nothing
    predicted, nothing there) is 0. ``loss`` is the mean cross-entropy.
    """
    predicted, classes = probabilities.argmax(axis=1), list(range(len(labels)))
    right = predicted == targets
    every, heard = share(right), share(right[keyword_mask(labels)[targets]])
    of_target = np.take_along_axis(probabilities, targets[:, None], axis=1).astype(np.float64)
    by_class = precision_recall_fscore_support(targets, predicted, labels=classes, zero_division=0)
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
        "mistakes": _surest(~right, names, [labels[target] for target in targets.tolist()], probabilities, labels),
    }


def operating_point(
    probabilities: Probabilities, targets: Targets, groups: dict[str, Group], labels: Sequence[str], threshold: float
) -> dict[str, Any]:
    """Keywords accepted as themselves, and what else is accepted as one, at ``threshold`` and along a curve.

    ``probabilities [clips, classes]`` and ``targets [clips]`` are of a split whose keywords count.
    """
    said, right = keyword_mask(labels)[targets], probabilities.argmax(axis=1) == targets

    def at(level: float) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.bool_]]]:
        recall = share((accepted(probabilities, labels, level) & right)[said])
        return recall, {kind: accepted(group.probabilities, labels, level) for kind, group in groups.items()}

    curve = []
    for level in sorted({*_THRESHOLDS, threshold}):
        recall, taken = at(level)
        shares = {kind: float(found.mean()) for kind, found in taken.items()}
        curve.append({"threshold": level, "recall": recall["share"], "false_accepts": shares})
    recall, taken = at(threshold)
    unseen = _by_word(groups[UNSEEN], taken[UNSEEN]) if UNSEEN in groups else {}
    surest = [each for kind, group in groups.items() for each in _surest(taken[kind], *group, labels)]
    return {
        "rule": RULE,
        "threshold": threshold,
        "recall": recall,
        "false_accepts": {kind: share(found) for kind, found in taken.items()},
        "curve": curve,
        "unseen_words": unseen,
        "examples": sorted(surest, key=lambda each: (-each["probability"], each["clip"]))[:_EXAMPLES],
    }


def without_keyword(model: Model, corpus: Corpus) -> tuple[dict[str, Group], dict[str, str]]:
    """Clips of the test split that must not be taken for a keyword, by kind; and why a kind is missing."""
    missing = {}
    unseen = [clip for clip in corpus.unseen if clip.split == "testing"]
    noise = corpus.noise_waveforms["testing"]
    if not unseen:
        held = "held back from training is in the test split" if corpus.unseen else "was held back from training"
        missing[UNSEEN] = f"no word {held}: see --unseen-words"
    if not noise:
        missing["noise"] = "the data set has no background noise"
    names, waveforms = quiet(noise)
    groups = {UNSEEN: _heard(model, corpus, unseen), KNOWN: _heard(model, corpus, corpus.others["testing"])}
    groups[QUIET] = Group(names, ["(none)"] * len(names), model(waveforms))
    return {kind: group for kind, group in groups.items() if group.names}, missing


def quiet(noise: Sequence[Waveform]) -> tuple[list[str], Waveform]:
    """Clips without a voice: background recordings at three levels, hiss down to the last bit, digital silence."""
    names, parts = [], []
    windows = [sliding_window_view(piece, CLIP_SAMPLES)[:: SAMPLE_RATE // 10] for piece in noise]
    stride = max(1, -(-len(_QUIET_DB) * sum(map(len, windows)) // _MOST_QUIET))
    for number, recording in enumerate(windows):
        for db in _QUIET_DB:
            parts.append(recording[::stride] * np.float32(10 ** (db / 20)))
            names += [f"noise {number} at {db:+.0f} dB, {0.1 * stride * row:.1f} s" for row in range(len(parts[-1]))]
    rng = np.random.default_rng(0)
    for dbfs in (-50, -60, -70, -80, -90):
        parts.append(rng.normal(0, 10 ** (dbfs / 20), (10, CLIP_SAMPLES)).astype(np.float32))
        names += [f"hiss at {dbfs} dBFS"] * 10
    for name, level in (("digital silence", 0), ("offset of 0.01", 0.01), ("offset of one step", 1 / 32768)):
        parts.append(np.full((1, CLIP_SAMPLES), level, np.float32))
        names.append(name)
    return names, as_recorded(np.concatenate(parts))


def digest(names: Sequence[str], waveforms: Waveform) -> str:
    """The SHA-256 over names and contents (16-bit samples) of clips: equal for the same clips, in whatever order."""
    each = [
        hashlib.sha256(f"{name}\n".encode() + np.rint(waveform * 32_768).astype("<i4").tobytes()).hexdigest()
        for name, waveform in zip(names, waveforms, strict=True)
    ]
    return hashlib.sha256("\n".join(sorted(each)).encode()).hexdigest()


def _heard(model: Model, corpus: Corpus, clips: Sequence[Clip]) -> Group:
    starts = range(0, len(clips), _CHUNK)
    parts = [model(corpus.read(clips[start : start + _CHUNK])) for start in starts]
    probabilities = np.concatenate([np.empty((0, len(model.info.labels)), np.float32), *parts])
    return Group([clip.name for clip in clips], [clip.word for clip in clips], probabilities)


def _by_word(group: Group, taken: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """False accepts of each word of a group, the word most often taken for a keyword first."""
    found = {word: share(taken[np.array(group.words) == word]) for word in sorted(set(group.words))}
    return dict(sorted(found.items(), key=lambda item: -item[1]["share"]))


def _surest(
    chosen: npt.NDArray[np.bool_],
    names: Sequence[str],
    said: Sequence[str],
    found: Probabilities,
    labels: Sequence[str],
) -> list[dict[str, Any]]:
    """The clips that are ``chosen``: what each says and what the model takes it for, the surest first."""
    told = [
        {"clip": names[row], "label": said[row], "prediction": labels[best], "probability": float(found[row, best])}
        for row, best in enumerate(found.argmax(axis=1).tolist())
        if chosen[row]
    ]
    return sorted(told, key=lambda each: (-each["probability"], each["clip"]))
