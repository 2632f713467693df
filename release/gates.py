"""The gates: what a run must show before its image may be published, and the figures that they judge.

A bound that is set and has no figure fails; only its caller can say that something is "not part of this run".
"""

import tomllib
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from release import artifacts
from release.artifacts import EVALUATION, IMAGE, INFERENCE, LICENCES, METRICS, OSV, PUBLISHED, Artifacts, InputError

HELD, FAILED, OFF, ABSENT = "held", "failed", "off", "not part of this run"
Part = StrEnum("Part", ["MODEL", "INFERENCE", "IMAGE"])  # what a run can go without, where its caller says so
LAST = "the last release"  # its gates.json
Found = tuple[Any, str]  # a figure, and what a reader asks next: which, or why it was not measured


class Figure(NamedTuple):
    """A number of a run, and the bound that judges it: a name of ``gates.toml``, a number for every run, or "".

    ``source`` is its place in ``file``, or computes it, or ``counts`` a list; "%" is a share, "MB" is stored in bytes.
    """

    key: str
    title: str
    file: str
    source: str | Callable[[Artifacts], Found]
    bound: str | int = ""
    unit: str = ""
    digits: int = 2
    counts: bool = False

    def find(self, run: Artifacts) -> Found:
        """The figure; None where it was not measured, or is nothing that could have been."""
        try:
            found, more = (run.get(self.file, self.source), "") if isinstance(self.source, str) else self.source(run)
            if self.counts:  # and the last few of them: the test client's own limits come last
                shown = [*found[-3:], *([f"{len(found) - 3} more"] if len(found) > 3 else [])]
                found, more = (len(found), "; ".join(map(str, shown))) if isinstance(found, list) else (None, "")
        except (LookupError, TypeError, ValueError, AttributeError):  # of a file that is not as it should be
            found, more = None, ""
        number, broken = artifacts.as_number(found, share=self.unit == "%"), run.get(self.file, "error")
        # A file that tells of an error measured nothing, whatever else stands in it.
        if broken or number is None:
            what = str(self.source).partition("/")[0].replace("_", " ")
            return None, more if more and not broken else run.why_not(self.file, what)
        return number * 1e-6 if self.unit == "MB" else number, more

    def text(self, value: float | None, sign: str = "") -> str:
        """As a reader sees it; ``sign`` is "+" for a difference."""
        if value is None:
            return "–"
        if self.unit == "%":
            return f"{100 * value:{sign}.{self.digits}f} {'points' if sign else '%'}"
        form = f"{sign}.1e" if 0 < abs(value) < 0.5 * 10**-self.digits else f"{sign}.{self.digits}f"
        return f"{value:{form}} {self.unit}".rstrip()


def _least(shares: Iterable[tuple[Any, str]]) -> Found:
    """The least share, and whose; what is no share is less than any, and no measurement."""
    known = ((artifacts.as_number(share, share=True), name) for share, name in shares)
    return min((-1 if share is None else share, name) for share, name in known)


def _recall(run: Artifacts, keywords: bool = True) -> Found:
    """The least recall; by the trainer's convention the classes beside the keywords begin with an underscore."""
    told = run.read(EVALUATION)
    names = [name for name in {*told["labels"], *told["per_class"]} if name.startswith("_") != keywords]
    if not names:  # a model that was trained without other words and without noise has no such class
        return None, "no such class: add other words or background noise to the data, or set the bound to false"
    return _least((told["per_class"].get(name, {}).get("recall"), name) for name in names)


def _disturbed(run: Artifacts) -> Found:
    """The least share of keywords heard under a disturbance; other speakers are another test set."""
    # Absolute: a bound on what is lost would reward a model that hears nothing to begin with.
    cases = run.read(EVALUATION)["robustness"]["cases"]
    return _least((case["accuracy"], case["name"]) for case in cases if case["group"] != "voices")


def _speakers(run: Artifacts) -> Found:
    """Where names tell no speaker, no speaker can be found in two splits: then nothing was measured."""
    data = run.read(EVALUATION)["data"]
    unknown = "the names of the data tell no speaker: see `model check`, or set the bound to false"
    return (data["leaks"]["speakers"], "") if data["speakers_known"] is True else (None, unknown)


def _untested(run: Artifacts) -> Found:
    """The image's platforms in which the test client found something wrong, or which it never asked."""
    own, platforms = run.read(IMAGE)["platform"], run.read(IMAGE)["platforms"]
    others = {name: f"inference/platforms/{name.replace('/', '-')}/inference_metrics.json" for name in platforms}
    files = others | {own: INFERENCE}
    return [name for name in files if run.get(files[name], "failures") != []] if own in others else None, ""


_LISTENING = "running_audio/operating/medium"  # by the rule that is stored in the model
_FALSE_ACCEPTS, _RECORDINGS = f"{_LISTENING}/false_accepts_per_hour", "data/leaks/recordings"
_REJECTION = partial(_recall, keywords=False)
_count = partial(Figure, digits=0, counts=True)
FIGURES = (
    Figure("accuracy", "test accuracy", EVALUATION, "accuracy", "min_accuracy", "%"),
    Figure("accuracy_lower", "its lower 95 %", EVALUATION, "accuracy_interval_95/0", "min_accuracy_lower", "%"),
    Figure("recall", "recall of each keyword", EVALUATION, _recall, "min_recall", "%"),
    Figure("rejection", "recall of what is no keyword", EVALUATION, _REJECTION, "min_rejection", "%"),
    Figure("keyword_accuracy", "keywords heard", EVALUATION, "keyword_accuracy", "", "%"),
    Figure("disturbed_accuracy", "least heard when disturbed", EVALUATION, _disturbed, "min_disturbed_accuracy", "%"),
    Figure("missed", "commands missed", EVALUATION, f"{_LISTENING}/misses/share", "max_missed_commands", "%", 1),
    Figure("false_accepts", "false accepts", EVALUATION, _FALSE_ACCEPTS, "max_false_accepts_per_hour", "an hour", 1),
    Figure("loss", "test loss", EVALUATION, "loss", digits=4),
    Figure("parity", "ONNX against PyTorch", EVALUATION, "parity/max_difference", "max_parity_difference"),
    Figure("speakers", "speakers in two splits", EVALUATION, _speakers, "max_leaked_speakers", digits=0),
    Figure("recordings", "recordings in two splits", EVALUATION, _RECORDINGS, "max_leaked_recordings", digits=0),
    Figure("training_seconds", "training", METRICS, "training_time_sec", "", "s", 0),
    Figure("clip_accuracy", "/predict accuracy", INFERENCE, "accuracy", "min_clip_accuracy", "%", 1),
    Figure("p95_ms", "/predict p95", INFERENCE, "p95_ms", "max_p95_ms", "ms", 1),
    _count("failures", "/predict failures", INFERENCE, "failures", 0),
    Figure("image_mb", "image size", IMAGE, "size_bytes", "max_size_mb", "MB", 1),
    _count("vulnerabilities", "known vulnerabilities", OSV, "failed", "max_vulnerabilities"),
    _count("licences", "licences denied or unknown", LICENCES, "failed", "max_licences"),
    _count("untested_platforms", "platforms not tested", IMAGE, _untested, "max_untested_platforms"),
    Figure("published_accuracy", "published /predict accuracy", PUBLISHED, "accuracy", "min_clip_accuracy", "%", 1),
    Figure("published_p95_ms", "published /predict p95", PUBLISHED, "p95_ms", "max_p95_ms", "ms", 1),
    _count("published_failures", "published /predict failures", PUBLISHED, "failures", 0),
)
NAMES = [str(name) for name in dict.fromkeys(figure.bound for figure in FIGURES) if name]
SHARES = {figure.bound for figure in FIGURES if figure.unit == "%"}
IDENTITY = dict.fromkeys(("model_version", "test_clips_digest", "data_digest", "data", "clips"), EVALUATION)
IDENTITY |= {"revision": METRICS, "settings": METRICS, "digest": IMAGE}


def read_bounds(path: Path, replaced: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The bounds with ``NAME=VALUE`` in place of some (False: off), and the table ``[licences]``. Raises InputError."""
    content, given = artifacts.read_file(path, tomllib.loads), dict[str, Any]()
    licences = content.pop("licences") if isinstance(content.get("licences"), dict) else {}
    for name, table in content.items():
        given |= table if isinstance(table, dict) else {name: table}
    for name, _, text in (each.partition("=") for each in replaced):
        try:
            given[name] = tomllib.loads(f"value = {text}")["value"]
        except ValueError:
            given[name] = text
    if wrong := set(NAMES) ^ set(given):
        told = f"{', '.join(sorted(wrong))}: no such bound, or not set (`false` switches a gate off)"
        raise InputError(f"{path} or --bound: {told}; there are {', '.join(NAMES)}")
    for name, value in given.items():
        if value is not False and artifacts.as_number(value, share=name in SHARES) is None:
            kind = "a share from 0 to 1" if name in SHARES else "a number from 0 on"
            raise InputError(f"{path} or --bound: {name} is {kind} or false, not {value!r}")
    return given, licences


def judge(run: Artifacts, bounds: dict[str, Any], without: Collection[str], published: str) -> dict[str, Any]:
    """``gates.json`` of a run that knows its components' licences and the last release; no broken file is an error."""
    found = {figure: figure.find(run) for figure in FIGURES}
    figures = {figure.key: value for figure, (value, _) in found.items()}
    figures |= {name: run.get(EVALUATION, name) for name in ("accuracy_interval_95", "keyword_accuracy_interval_95")}
    about = {name: run.get(file, name) for name, file in IDENTITY.items()}
    absent = {*without, *(() if published else ["published"])}
    trained = {METRICS: "training_time_sec", EVALUATION: "accuracy"}
    missing = [run.why_not(file) for file, name in trained.items() if artifacts.as_number(run.get(file, name)) is None]
    gates = [
        _same("training", "model", f"not complete ({missing[0]})" if missing else "complete", "complete"),
        *(_measured(figure, *values, bounds) for figure, values in found.items() if figure.bound != ""),
        _same("published digest", "published", published.rpartition("@")[2], about["digest"]),
    ]
    for name, part, file in (("/predict", "inference", INFERENCE), ("published", "published", PUBLISHED)):
        # A service that is tested alone has no model of this run to compare with.
        needed = "model" if "model" in absent else part
        gates.append(_same(f"{name} model", needed, run.get(file, "model_version"), about["model_version"]))
    for gate in gates:
        if gate["part"] in absent and gate["verdict"] != OFF:
            gate |= {"value": "not measured", "verdict": ABSENT}
    lines = [(gate["verdict"], f"{gate['name']}: {gate['value']}, the bound is {gate['bound']}") for gate in gates]
    failed, held = ([line for verdict, line in lines if verdict == wanted] for wanted in (FAILED, HELD))
    held.sort(key=lambda line: line.startswith("training"))  # its figures decide
    failed = failed[:1] if missing and "model" not in absent else failed  # without it nothing else could be measured
    failed = failed or ([] if held and not held[0].startswith("training") else ["no gate was judged"])
    return {
        "passed": not failed,
        "headline": f"❌ {failed[0]}" if failed else f"✅ {len(held)} gates held; {held[0]}",
        "failed": failed,
        "without": [*without],
        "gates": gates,
        "figures": figures,
        "run": {**about, "published": published},
        "last": {part: run.get(LAST, part) for part in ("figures", "run")},
        "no_last": run.get(LAST, "error") or "",
    }


def _measured(figure: Figure, value: float | None, more: str, bounds: dict[str, Any]) -> dict[str, str]:
    """The verdict on a figure; the bound's direction stands in its name in ``gates.toml``."""
    bound, least = bounds.get(str(figure.bound), figure.bound), str(figure.bound).startswith("min_")
    held = value is not None and (value >= bound if least else value <= bound)
    shown = ("not measured" if value is None else figure.text(value)) + (f" ({more})" if more else "")
    part = "published" if figure.file == PUBLISHED else figure.file.partition("/")[0]
    limit = OFF if bound is False else f"{figure.bound or ''} {'≥' if least else '≤'} {figure.text(bound)}".strip()
    verdict = OFF if bound is False else HELD if held else FAILED
    return {"name": figure.title, "bound": limit, "value": shown, "verdict": verdict, "part": part}


def _same(name: str, part: str, value: Any, wanted: Any) -> dict[str, str]:
    shown, bound = (str(known or "not known") for known in (value, wanted))
    verdict = HELD if wanted and value == wanted else FAILED
    return {"name": name, "bound": bound, "value": shown, "verdict": verdict, "part": part}
