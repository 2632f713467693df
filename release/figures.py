"""The figures of a run: where each is read, how it is written, and how it compares with the last release's."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from release.artifacts import EVALUATION, IMAGE, INFERENCE, METRICS, OSV, PUBLISHED, Artifacts, as_number

Found = tuple[Any, str]  # a figure, and what a reader asks next: which, or why it was not measured


@dataclass(frozen=True)
class Figure:
    """A number of a run, and the bound of ``gates.toml`` that judges it, if one does.

    ``source``: where in ``file`` it stands, or what computes it. ``unit``: "%" is a share from 0 to 1, "MB" is stored
    in bytes.
    """

    key: str
    title: str
    file: str
    source: str | Callable[[Artifacts], Found]
    bound: str = ""
    unit: str = ""
    digits: int = 2

    @property
    def part(self) -> str:
        """What a run must have for it: model, image, inference or published."""
        return "published" if self.file == PUBLISHED else self.file.partition("/")[0]

    def find(self, run: Artifacts) -> Found:
        """The figure; None where it was not measured, or is nothing that could have been."""
        try:
            found, more = self._read(run) if isinstance(self.source, str) else self.source(run)
        except (LookupError, TypeError, ValueError, AttributeError):  # of a file that is not as it should be
            found, more = None, ""
        found = as_number(found)
        # A file that tells of an error measured nothing, whatever else stands in it.
        broken = bool(run.get(self.file, "error"))
        if broken or found is None or found < 0 or (self.unit == "%" and found > 1):
            return None, more if more and not broken else run.why_not(self.file)
        return found * 1e-6 if self.unit == "MB" else found, more

    def _read(self, run: Artifacts) -> Found:
        """What stands in the file, or why the trainer did not measure it, in its own words."""
        found, named = run.get(self.file, str(self.source)), str(self.source).partition("/")[0].replace("_", " ")
        return found, "" if found is not None else str(run.get(self.file, f"not_measured/{named}") or "")

    def text(self, value: float | None, sign: str = "") -> str:
        """As a reader sees it; ``sign`` is "+" for a difference."""
        if value is None:
            return "–"
        if self.unit == "%":
            return f"{100 * value:{sign}.{self.digits}f} {'points' if sign else '%'}"
        form = f"{sign}.1e" if 0 < abs(value) < 0.5 * 10**-self.digits else f"{sign}.{self.digits}f"
        return f"{value:{form}} {self.unit}".rstrip()


def _disturbed(run: Artifacts) -> Found:
    """The least share of keywords heard under a disturbance; of other speakers, which are another test set, none.

    It is absolute: a bound on what is lost would reward a model that hears nothing to begin with.
    """
    cases = [case for case in run.read(EVALUATION)["robustness"]["cases"] if case["group"] != "voices"]
    return min((case["accuracy"], case["name"]) for case in cases)


def _speakers(run: Artifacts) -> Found:
    """Where names tell no speaker, no speaker can be found in two splits: then nothing was measured."""
    data = run.read(EVALUATION)["data"]
    if data["speakers_known"] is False:
        return None, "the names of the data tell no speaker: see `model check`, or set the bound to false"
    return data["leaks"]["speakers"] if data["speakers_known"] is True else None, ""


def _vulnerabilities(run: Artifacts) -> Found:
    """How many count; None where the scanner could not be asked, whatever its file says besides."""
    osv = run.read(OSV)
    told = osv["error"] == "" and isinstance(osv["counts"], list)
    holes = [f"{hole['id']} in {hole['package']}" for hole in osv["counts"]] if told else []
    return len(holes) if told else None, shortened(holes)


def _untested(run: Artifacts) -> Found:
    """The image's platforms that no test client asked with success."""
    own, found = run.read(IMAGE)["platform"], []
    for name in list(run.read(IMAGE)["platforms"]):
        folder = "inference" if name == own else f"inference/platforms/{name.replace('/', '-')}"
        client = run.read(f"{folder}/inference_metrics.json")
        if client.get("failures") != [] or client.get("http_status") != 200:
            found.append(name)
    return len(found) if own in list(run.read(IMAGE)["platforms"]) else None, ", ".join(found)


_LISTENING = "running_audio/operating/medium"  # by the rule that is stored in the model
_FALSE_ACCEPTS, _RECORDINGS = f"{_LISTENING}/false_accepts_per_hour", "data/leaks/recordings"
FIGURES = (
    Figure("accuracy", "test accuracy", EVALUATION, "accuracy", "min_accuracy", "%"),
    Figure("accuracy_lower", "its lower 95 %", EVALUATION, "accuracy_interval_95/0", "min_accuracy_lower", "%"),
    Figure("keyword_accuracy", "keywords heard", EVALUATION, "keyword_accuracy", "", "%"),
    Figure(
        "disturbed_accuracy", "keywords heard when disturbed", EVALUATION, _disturbed, "min_disturbed_accuracy", "%"
    ),
    Figure("missed", "commands missed", EVALUATION, f"{_LISTENING}/misses/share", "max_missed_commands", "%", 1),
    Figure("false_accepts", "false accepts", EVALUATION, _FALSE_ACCEPTS, "max_false_accepts_per_hour", "an hour", 1),
    Figure("loss", "test loss", EVALUATION, "loss", digits=4),
    Figure("parity", "ONNX against PyTorch", EVALUATION, "parity/max_difference", "max_parity_difference"),
    Figure("speakers", "speakers in two splits", EVALUATION, _speakers, "max_leaked_speakers", digits=0),
    Figure("recordings", "recordings in two splits", EVALUATION, _RECORDINGS, "max_leaked_recordings", digits=0),
    Figure("training_seconds", "training", METRICS, "training_time_sec", "", "s", 0),
    Figure("clip_accuracy", "/predict accuracy", INFERENCE, "accuracy", "min_clip_accuracy", "%", 1),
    Figure("p95_ms", "/predict p95", INFERENCE, "p95_ms", "max_p95_ms", "ms", 1),
    Figure("image_mb", "image size", IMAGE, "size_bytes", "max_size_mb", "MB", 1),
    Figure("vulnerabilities", "known vulnerabilities", OSV, _vulnerabilities, "max_vulnerabilities", digits=0),
    Figure("untested_platforms", "platforms not tested", IMAGE, _untested, "max_untested_platforms", digits=0),
    Figure("published_accuracy", "published /predict accuracy", PUBLISHED, "accuracy", "min_clip_accuracy", "%", 1),
    Figure("published_p95_ms", "published /predict p95", PUBLISHED, "p95_ms", "max_p95_ms", "ms", 1),
)
# A model that was trained without other words and without noise has no class for what is no keyword.
_NO_CLASS = "no such class: add other words or background noise to the data, or set the bound to false"
CLASSES = {"min_recall": "recall of each keyword", "min_rejection": "recall of what is no keyword"}
INTERVALS = {"accuracy": "accuracy_interval_95", "keyword_accuracy": "keyword_accuracy_interval_95"}
# What tells one run from another.
ABOUT = dict.fromkeys(("model_version", "test_clips_digest", "data_digest", "data", "clips"), EVALUATION)
ABOUT |= {"revision": METRICS, "settings": METRICS}


def recalls(run: Artifacts) -> Iterator[Figure]:
    """One figure a class; by the trainer's convention those beside the keywords begin with an underscore."""
    stated = (run.get(EVALUATION, "labels"), run.get(EVALUATION, "per_class"))
    names = dict.fromkeys(str(name) for each in stated if isinstance(each, list | dict) for name in each)
    for bound, title in CLASSES.items():
        found = [name for name in names if name.startswith("_") == (bound == "min_rejection")]
        for name in found:
            yield Figure(name, f"recall of {name}", EVALUATION, f"per_class/{name}/recall", bound, "%")
        if not found:
            yield Figure(bound, title, EVALUATION, lambda _: (None, _NO_CLASS), bound, "%")


def shortened(entries: list[str], most: int = 3) -> str:
    """The last few (the test client's own limits come last), and how many more there are."""
    more = [f"{len(entries) - most} more"] if len(entries) > most else []
    return "; ".join(entries[-most:] + more)


def change_interval(key: str, now: dict[str, Any], last: dict[str, Any]) -> tuple[float, float] | None:
    """95 % interval of a share's change, from the two Wilson intervals (Newcombe 1998, method 10).

    On the same clips it is wider than need be: the two models err on many clips together.
    """
    try:
        share, (low, high) = now[key], now[INTERVALS[key]]
        last_share, (last_low, last_high) = last[key], last[INTERVALS[key]]
        down, up = math.hypot(share - low, last_high - last_share), math.hypot(high - share, last_share - last_low)
        return share - last_share - down, share - last_share + up
    except (KeyError, TypeError, ValueError):
        return None
