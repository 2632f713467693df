"""The gates: what a run must show before its image may be published. The one gate system.

A bound that is set and has no figure fails. What is switched off is said to be off, and what cannot be part of a run,
such as an image where nothing builds one, is "not part of this run" only where the caller says so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from release.artifacts import (
    EVALUATION,
    IMAGE,
    INFERENCE,
    METRICS,
    PUBLISHED,
    SBOM,
    Artifacts,
    InputError,
    as_number,
    last_line,
    read_toml,
)
from release.figures import CLASSES, FIGURES, Figure, collect, recalls, shortened
from release.licences import Component

DENIED = "denied_licences"
NAMES = (*dict.fromkeys(figure.bound for figure in FIGURES if figure.bound), *CLASSES, "max_loss_increase", DENIED)
SHARES = {*CLASSES, *(figure.bound for figure in FIGURES if figure.unit == "%")}


class Verdict(StrEnum):
    HELD = "held"
    FAILED = "failed"
    OFF = "off"
    ABSENT = "not part of this run"


PASSING = (Verdict.HELD, Verdict.OFF, Verdict.ABSENT)


class Part(StrEnum):
    """What a run can go without, where its caller says so."""

    MODEL = "model"
    INFERENCE = "inference"
    START = "start"
    IMAGE = "image"


@dataclass(frozen=True)
class Gate:
    """A bound, what was found, and the verdict; ``part`` is what a run must have for it."""

    name: str
    bound: str
    value: str
    verdict: Verdict
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

    def those(self, verdict: Verdict) -> list[Gate]:
        return [gate for gate in self.gates if gate.verdict is verdict]

    @property
    def passed(self) -> bool:
        return self.headline.startswith("✅")

    @property
    def headline(self) -> str:
        """The verdict and the figure that decided it."""
        if failed := self.those(Verdict.FAILED):
            return f"❌ {failed[0].line()}"
        held = [gate.line() for gate in self.those(Verdict.HELD) if gate.name != "training"]
        return f"✅ {len(self.those(Verdict.HELD))} gates held; {held[0]}" if held else "❌ no gate was judged"

    def content(self) -> dict[str, Any]:
        """``gates.json``."""
        return {"passed": self.passed, "headline": self.headline, **asdict(self)}


def read_bounds(path: Path, replaced: Sequence[str] = ()) -> tuple[dict[str, Any], Any]:
    """The bounds of the file with ``NAME=VALUE`` in place of some (False: off), and its table ``[licences]``.

    Raises InputError on a value that cannot be meant; every bound must be there, ``false`` where unwanted.
    """
    content = read_toml(path)
    by_hand = content.pop("licences", {})
    found: dict[str, Any] = {}
    for name, table in content.items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: {name} stands in no table, such as [model]")
        found |= {key: _checked(key, value, str(path)) for key, value in table.items()}
    if missing := [name for name in NAMES if name not in found]:
        raise InputError(f"{path} lacks {', '.join(missing)}; `false` switches a gate off")
    for text in replaced:
        name, _, value = text.partition("=")
        found[name] = _checked(name, _parsed(name, value), f"the bound {text!r}")
    return found, by_hand if isinstance(by_hand, dict) else {}


def _parsed(name: str, text: str) -> Any:
    if name == DENIED and text != "false":
        # Apart by semicolons: Dagger's command line splits at commas before a list comes here.
        return [item.strip(" \"'") for item in text.strip("[] ").split(";")]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _checked(name: str, value: Any, where: str) -> Any:
    if name not in NAMES:
        raise InputError(f"{where}: no gate has a bound {name!r}; there are {', '.join(NAMES)}")
    if value is False:
        return False
    if name == DENIED:
        if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
            raise InputError(f"{where}: {name} is a list of names or false, not {value!r}")
        return value
    number = as_number(value)
    if number is None or number < 0 or (name in SHARES and number > 1):
        kind = "a share from 0 to 1" if name in SHARES else "a number from 0 on"
        raise InputError(f"{where}: {name} is {kind} or false, not {value!r}")
    return number


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
    now, about = collect(run, published)
    told = [last.get(part) for part in ("figures", "run")] if last is not None else []
    before = {key: value for part in told if isinstance(part, dict) for key, value in part.items()} if told else None
    gates = [
        _training(run),
        *(_of_figure(figure, run, bounds) for figure in (*FIGURES, *recalls(run)) if figure.bound),
        _loss({**now, **about}, before, no_last, bounds["max_loss_increase"]),
        *_answers("/predict", INFERENCE, "inference", run),
        _licences(components, run, bounds[DENIED]),
        *_answers("published /predict", PUBLISHED, "published", run),
        _verdict("published digest", str(about["image_digest"]), published, _is_of(published, run), "published"),
    ]
    absent = {*without, *(() if published else ("published",))}
    gates = [
        replace(gate, value="not measured", verdict=Verdict.ABSENT)
        if gate.part in absent and gate.verdict is not Verdict.OFF
        else gate
        for gate in gates
    ]
    return Judgement(gates, now, about, before, "" if before else no_last)


def _verdict(name: str, bound: str, value: str, held: bool, part: str = "model") -> Gate:
    return Gate(name, bound, value, Verdict.HELD if held else Verdict.FAILED, part)


def _number(figure: Figure, value: float | None, bound: float | bool, shown: str) -> Gate:
    """The verdict on one number; the bound's direction stands in its name in ``gates.toml``."""
    if bound is False:
        return Gate(figure.title, "off", shown, Verdict.OFF, figure.part)
    least = figure.bound.startswith("min_")
    held = value is not None and (value >= bound if least else value <= bound)
    return _verdict(figure.title, f"{'≥' if least else '≤'} {figure.text(float(bound))}", shown, held, figure.part)


def _training(run: Artifacts) -> Gate:
    """Whether there is a model to judge at all."""
    told = {EVALUATION: "accuracy", METRICS: "training_time_sec"}
    missing = [run.why_not(name) for name, key in told.items() if as_number(run.get(name, key)) is None]
    said = last_line(run.text("model/train.log"))
    value = f"ended without a model ({said})" if missing and said else "; ".join(missing)
    return _verdict("training", "complete", value or "complete", not missing)


def _of_figure(figure: Figure, run: Artifacts, bounds: dict[str, Any]) -> Gate:
    value, more = figure.find(run)
    shown = "not measured" if value is None else figure.text(value)
    return _number(figure, value, bounds[figure.bound], f"{shown} ({more})" if more else shown)


def _loss(now: dict[str, Any], last: dict[str, Any] | None, no_last: str, bound: float | bool) -> Gate:
    """Two losses compare where both were measured on the same clips: by a digest over their names and contents."""
    figure = Figure("loss", "loss against the last release", "last", bound="max_loss_increase", digits=4)
    clips = [run.get("test_clips_digest") for run in (now, last or {})]
    losses = [as_number(run.get("loss")) for run in (now, last or {})]
    value, shown = None, "not measured (a run does not tell its loss or its test clips)"
    if all(clips) and losses[0] is not None and losses[1] is not None:
        value = losses[0] - losses[1]
        shown = figure.text(value, "+")
    gate = _number(figure, value, bound, shown)
    if bound is False or (last is not None and (clips[0] == clips[1] or not all(clips))):
        return gate
    why = f"no last release ({no_last})" if last is None else "measured on other test clips"
    return replace(gate, value=why, verdict=Verdict.ABSENT)


def _answers(name: str, file: str, part: str, run: Artifacts) -> Iterator[Gate]:
    """The test client's findings: answers of the right form, from the model that was trained."""
    version, there = run.get(EVALUATION, "model_version"), run.get(file, "model_version")
    failures, status = run.get(file, "failures"), run.get(file, "http_status")
    if not isinstance(failures, list):
        said = run.text(f"{file.rpartition('/')[0]}/error.txt").strip().partition("\n")[0]
        failures = [f"the service never answered ({said or run.why_not(file)})"]
    elif status != 200:
        failures = [*failures, f"its status is {status}"]
    value = shortened([str(failure) for failure in failures]) or "no failure"
    yield _verdict(f"{name} answers", "no failure", value, not failures, part)
    held = bool(version) and there == version
    # A service that is tested alone has no model of this run to compare with.
    ours = "model" if "error" in run.read(EVALUATION) and "error" not in run.read(file) else part
    yield _verdict(f"{name} model", f"version {version}", f"version {there}", held, ours)


def _licences(components: list[Component], run: Artifacts, denied: Any) -> Gate:
    """No component under a denied licence, and none whose licence is unknown."""
    wrong = [f"{one.name} ({one.stated or 'none stated'}: {one.verdict})" for one in components if not one.allowed]
    value = shortened(wrong) or f"allowed for {len(components)} components"
    if not components:
        value = f"not measured ({run.why_not(SBOM)})"
    if denied is False:
        return Gate("licences", "off", value, Verdict.OFF, "image")
    held = bool(components) and not wrong
    return _verdict("licences", f"known, none of {', '.join(denied)}", value, held, "image")


def _is_of(published: str, run: Artifacts) -> bool:
    """Whether the reference names the archive that was judged."""
    digest = run.get(IMAGE, "digest")
    return bool(digest) and published.endswith(f"@{digest}")
