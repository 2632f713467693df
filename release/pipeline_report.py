"""``report.md``: the one page of a run, the verdict first; also the job summary and the comment on a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template

from release.artifacts import EVALUATION, IMAGE, INFERENCE, METRICS, OSV, PUBLISHED, Artifacts, as_number
from release.figures import FIGURES, INTERVALS, Figure, change_interval
from release.gates import Judgement, Verdict

MARKS = {Verdict.HELD: "✅", Verdict.FAILED: "❌", Verdict.OFF: "off"}
CLIENTS = {"as built": INFERENCE, "published": PUBLISHED}
WORST = 10


def render(run: Artifacts, judged: Judgement, not_proven: list[str]) -> str:
    """The page as Markdown, well below the 65,536 characters of a comment on GitHub."""
    templates = Path(__file__).parent / "templates"
    # It is Markdown, where `cell` escapes what stands in a table.
    environment = Environment(loader=FileSystemLoader(templates), trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    environment.filters |= {"cell": cell, "percent": lambda value: FIGURES[0].text(as_number(value))}
    try:
        return _page(environment.get_template("pipeline_report.md.j2"), run, judged, not_proven)
    except Exception as error:  # whatever broken files make of a template: the verdict is told all the same
        lines = [f"- {gate.verdict}: {gate.line()}" for gate in judged.gates]
        return "\n".join([f"# {judged.headline}", "", *lines, "", f"The rest cannot be shown: {error!r}", ""])


def _page(template: Template, run: Artifacts, judged: Judgement, not_proven: list[str]) -> str:
    return template.render(
        judged=judged,
        marks=MARKS,
        figures=[cells for cells in (_row(figure, judged) for figure in FIGURES) if cells[1:3] != ["–", "–"]],
        changes=_changes(judged),
        evaluation=run.read(EVALUATION),
        image=run.read(IMAGE),
        osv=run.read(OSV),
        curves=_curves(run.get(METRICS, "history")),
        worst=_worst(run.get(EVALUATION, "mistakes")),
        clients={name: run.read(file) for name, file in CLIENTS.items() if "error" not in run.read(file)},
        absent=judged.those(Verdict.ABSENT),
        not_proven=[*_limits(run), *not_proven],
    )


def cell(value: Any) -> str:
    """Text from outside in a table: on one line, without what would end the cell or begin markup."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "|`*_<>[]\\#" else letter for letter in text)[:300]


def _row(figure: Figure, judged: Judgement) -> list[str]:
    """Title, now, last release, change with its interval where it has one."""
    now, then = judged.figures[figure.key], as_number((judged.last or {}).get(figure.key))
    change = figure.text(now - then, "+") if now is not None and then is not None else "–"
    interval = change_interval(figure.key, judged.figures, judged.last or {}) if figure.key in INTERVALS else None
    if interval is not None:
        low, high = (f"{100 * end:+.2f}" for end in interval)
        news = "" if interval[0] <= 0 <= interval[1] else ", **more than chance**"
        change += f" ({low} to {high}{news})"
    return [figure.title, figure.text(now), figure.text(then), change]


def _changes(judged: Judgement) -> list[list[Any]]:
    """Settings and data that differ from the last release's: name, then, now."""
    if not judged.last:
        return []
    sides = [
        _flat({key: run.get(key) for key in ("settings", "data_digest", "data", "clips")})
        for run in (judged.last, judged.run)
    ]
    names = dict.fromkeys([*sides[0], *sides[1]])
    return [
        [name, *(side.get(name, "–") for side in sides)] for name in names if sides[0].get(name) != sides[1].get(name)
    ]


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    parts = [_flat(inner, f"{name}.{key}" if name else str(key)) for key, inner in value.items()]
    return {key: inner for part in parts for key, inner in part.items()}


def _curves(history: Any) -> dict[str, Any] | None:
    """Accuracy by epoch in percent, at most 40 points; None where there is no line to draw."""
    rows = [row for row in history if isinstance(row, dict)] if isinstance(history, list) else []
    shown = rows[:: -(-len(rows) // 40) or 1]
    lines = [[as_number(row.get(key)) for row in shown] for key in ("train_acc", "val_acc")]
    if len(shown) < 2 or any(value is None for line in lines for value in line):
        return None
    points = [[round(100 * float(value or 0), 1) for value in line] for line in lines]
    return {"epochs": len(rows), "floor": 10 * int(min(map(min, points)) // 10), "lines": points}


def _worst(mistakes: Any) -> list[dict[str, Any]]:
    """The wrong answers that the model was surest of."""
    found = [one for one in mistakes if isinstance(one, dict)] if isinstance(mistakes, list) else []
    return sorted(found, key=lambda one: -(as_number(one.get("probability")) or 0))[:WORST]


def _limits(run: Artifacts) -> list[str]:
    """What the artefacts say themselves that they did not measure or do not know."""
    unmeasured = run.get(EVALUATION, "not_measured")
    found = [f"{what}: {why}" for what, why in unmeasured.items()] if isinstance(unmeasured, dict) else []
    caveats = run.get(EVALUATION, "caveats")
    found += [str(caveat) for caveat in caveats] if isinstance(caveats, list) else []
    if run.get(INFERENCE, "tone/sent") is False:
        found.append("a recording of another program (sox is not installed where the test client ran)")
    unasked = run.get(OSV, "unasked")
    if isinstance(unasked, list) and unasked:
        found.append(
            f"vulnerabilities of {', '.join(map(str, unasked[:WORST]))}: OSV is asked for Python and Debian alone"
        )
    return found
