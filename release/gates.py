"""The gates: what a run must show before its image may be published. The one gate system.

A bound that is set and has no figure fails. What is switched off is said to be off, and what cannot be part of a run,
such as an image where nothing builds one, is "not part of this run" only where the caller says so.
"""

import math
import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from release.artifacts import EVALUATION, IMAGE, INFERENCE, PUBLISHED, SBOM, Artifacts, InputError, as_number, read_file
from release.figures import ABOUT, CLASSES, FIGURES, INTERVALS, Figure, recalls, shortened
from release.licences import ALLOWED, Component

HELD, FAILED, OFF, ABSENT = "held", "failed", "off", "not part of this run"
# What a run can go without, where its caller says so.
Part = StrEnum("Part", ["MODEL", "INFERENCE", "IMAGE"])
DENIED = "denied_licences"
LOSS = Figure("loss", "loss against the last release", "last", "loss", "max_loss_increase", digits=4)
NAMES = (*dict.fromkeys(figure.bound for figure in FIGURES if figure.bound), *CLASSES, LOSS.bound, DENIED)
SHARES = {*CLASSES, *(figure.bound for figure in FIGURES if figure.unit == "%")}


class Gate(NamedTuple):
    """A bound, what was found, and the verdict; ``part`` is what a run must have for it."""

    name: str
    bound: str
    value: str
    verdict: str
    part: str = "model"

    def line(self) -> str:
        return f"{self.name}: {self.value}, the bound is {self.bound}"


@dataclass(frozen=True)
class Judgement:
    """All gates of a run, its figures and facts, and those of the last release, or why there are none."""

    gates: list[Gate]
    figures: dict[str, Any]
    run: dict[str, Any]
    last: dict[str, Any] | None
    no_last: str

    def those(self, verdict: str) -> list[Gate]:
        return [gate for gate in self.gates if gate.verdict == verdict]

    def headline(self) -> str:
        """The verdict and the figure that decided it."""
        if failed := self.those(FAILED):
            return f"❌ {failed[0].line()}"
        held = [gate.line() for gate in self.those(HELD) if gate.name != "training"]
        return f"✅ {len(self.those(HELD))} gates held; {held[0]}" if held else "❌ no gate was judged"

    def content(self) -> dict[str, Any]:
        """``gates.json``."""
        told = {"passed": self.headline().startswith("✅"), "headline": self.headline()}
        return {**told, **vars(self), "gates": [gate._asdict() for gate in self.gates]}


def read_bounds(path: Path, replaced: Sequence[str] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """The bounds of the file with ``NAME=VALUE`` in place of some (False: off), and its table ``[licences]``.

    Raises InputError on a value that cannot be meant; every bound must be there, ``false`` where unwanted.
    """
    content = read_file(path, tomllib.loads)
    by_hand = content.pop("licences") if isinstance(content.get("licences"), dict) else {}
    tables = [table if isinstance(table, dict) else {name: table} for name, table in content.items()]
    given = [(str(path), name, value) for table in tables for name, value in table.items()]
    if missing := set(NAMES) - {name for _, name, _ in given}:
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}; `false` switches a gate off")
    given += [(f"the bound {text!r}", *_parsed(*text.partition("=")[::2])) for text in replaced]
    return {name: _checked(where, name, value) for where, name, value in given}, by_hand


def _parsed(name: str, text: str) -> tuple[str, Any]:
    if name == DENIED and text != "false":
        # Apart by semicolons: Dagger's command line splits at commas before a list comes here.
        return name, [item.strip(" \"'") for item in text.strip("[] ").split(";")]
    try:
        return name, tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return name, text


def _checked(where: str, name: str, value: Any) -> Any:
    if name not in NAMES:
        raise InputError(f"{where}: no gate has a bound {name!r}; there are {', '.join(NAMES)}")
    most, kind = (1, "a share from 0 to 1") if name in SHARES else (math.inf, "a number from 0 on")
    number = as_number(value)
    meant = number is not None and 0 <= number <= most
    if name == DENIED:
        kind = "a list of names"
        meant = isinstance(value, list) and bool(value) and all(isinstance(item, str) and item for item in value)
    if not meant and value is not False:
        raise InputError(f"{where}: {name} is {kind} or false, not {value!r}")
    return value


def judge(
    run: Artifacts,
    bounds: dict[str, Any],
    components: list[Component],
    without: Collection[str] = (),
    published: str = "",
    last: dict[str, Any] | None = None,
    no_last: str = "none was given",
) -> Judgement:
    """Judge an artefact directory. A missing or broken file is a failed gate, never an error.

    ``components`` are the SBOM's with the verdict on their licences, ``without`` parts are not part of this run,
    ``published`` is the reference of the image that was pulled back, ``last`` the last release's ``gates.json``.
    """
    digest = run.get(IMAGE, "digest")
    found = {figure: figure.find(run) for figure in (*FIGURES, *recalls(run))}
    figures = {figure.key: found[figure][0] for figure in FIGURES}
    figures |= {name: run.get(EVALUATION, name) for name in INTERVALS.values()}
    about = {name: run.get(file, name) for name, file in ABOUT.items()}
    about |= {"image_digest": digest, "published": published or None}
    told = [last.get(part) for part in ("figures", "run")] if last is not None else []
    before = {key: value for part in told if isinstance(part, dict) for key, value in part.items()} if told else None
    gates = [
        _training(run),
        *(_measured(figure, *value, bounds) for figure, value in found.items() if figure.bound),
        _loss(figures | about, before, no_last, bounds),
        *_answers("/predict", INFERENCE, "inference", run),
        _licences(components, run, bounds[DENIED]),
        *_answers("published /predict", PUBLISHED, "published", run),
        _gate(
            "published digest", str(digest), published, bool(digest) and published.endswith(f"@{digest}"), "published"
        ),
    ]
    absent = {*without, *(() if published else ("published",))}
    for number, gate in enumerate(gates):
        if gate.part in absent and gate.verdict != OFF:
            gates[number] = gate._replace(value="not measured", verdict=ABSENT)
    return Judgement(gates, figures, about, before, "" if before else no_last)


def _gate(name: str, bound: str | bool, value: str, held: bool, part: str = "model") -> Gate:
    """A gate with its verdict; one whose bound is False is off."""
    verdict = HELD if held else FAILED
    return Gate(name, str(bound or OFF), value, OFF if bound is False else verdict, part)


def _measured(figure: Figure, value: float | None, more: str, bounds: dict[str, Any], sign: str = "") -> Gate:
    """The verdict on a figure; the bound's direction stands in its name in ``gates.toml``."""
    bound, least = bounds[figure.bound], figure.bound.startswith("min_")
    held = value is not None and (value >= bound if least else value <= bound)
    shown = "not measured" if value is None else figure.text(value, sign)
    text = bound is not False and f"{'≥' if least else '≤'} {figure.text(bound)}"
    return _gate(figure.title, text, f"{shown} ({more})" if more else shown, held, figure.part)


def _training(run: Artifacts) -> Gate:
    """Whether there is a model to judge at all."""
    told = [(one.file, str(one.source)) for one in FIGURES if one.key in ("accuracy", "training_seconds")]
    missing = [run.why_not(file) for file, place in told if as_number(run.get(file, place)) is None]
    said = run.text("model/train.log").rpartition("\n")[2]
    value = f"ended without a model ({said})" if missing and said else "; ".join(missing)
    return _gate("training", "complete", value or "complete", not missing)


def _loss(now: dict[str, Any], last: dict[str, Any] | None, no_last: str, bounds: dict[str, Any]) -> Gate:
    """Two losses compare where both were measured on the same clips: by a digest over their names and contents."""
    clips = [side.get("test_clips_digest") for side in (now, last or {})]
    loss, before = (as_number(side.get("loss")) for side in (now, last or {}))
    change = loss - before if all(clips) and loss is not None and before is not None else None
    gate = _measured(LOSS, change, "" if change is not None else "a loss or its test clips are not told", bounds, "+")
    if gate.verdict == OFF or (last is not None and (clips[0] == clips[1] or not all(clips))):
        return gate
    why = f"no last release ({no_last})" if last is None else "measured on other test clips"
    return gate._replace(value=why, verdict=ABSENT)


def _answers(name: str, file: str, part: str, run: Artifacts) -> Iterator[Gate]:
    """The test client's findings: answers of the right form, from the model that was trained."""
    failures, status = run.get(file, "failures"), run.get(file, "http_status")
    if not isinstance(failures, list):
        said = run.text(f"{file.rpartition('/')[0]}/error.txt").partition("\n")[0]
        failures = [f"the service never answered ({said or run.why_not(file)})"]
    failures = [*map(str, failures), *([f"its status is {status}"] if status not in (200, None) else [])]
    held = not failures and status == 200
    yield _gate(f"{name} answers", "no failure", shortened(failures) or f"status {status}", held, part)
    version, there = (run.get(each, "model_version") for each in (EVALUATION, file))
    # A service that is tested alone has no model of this run to compare with.
    ours = "model" if "error" in run.read(EVALUATION) and "error" not in run.read(file) else part
    bound = f"version {version}" if version else "the trained model's version"
    value = f"version {there}" if there else "not known, nothing was answered"
    yield _gate(f"{name} model", bound, value, bool(version) and there == version, ours)


def _licences(components: list[Component], run: Artifacts, denied: Any) -> Gate:
    """No component under a denied licence, and none whose licence is unknown."""
    wrong = [
        f"{one.name} ({one.stated or 'none stated'}: {one.verdict})" for one in components if one.verdict != ALLOWED
    ]
    value = shortened(wrong) or f"allowed for {len(components)} components"
    value = value if components else f"not measured ({run.why_not(SBOM)})"
    bound = denied and f"known, none of {', '.join(denied)}"
    return _gate("licences", bound, value, bool(components) and not wrong, "image")
