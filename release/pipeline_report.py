"""``report.md``: the one page of a run, the verdict first; also the job summary and the comment on a pull request."""

from collections.abc import Iterator
from typing import Any

from release.artifacts import EVALUATION, IMAGE, INFERENCE, METRICS, OSV, PUBLISHED, Artifacts, as_number
from release.artifacts import render as document
from release.figures import FIGURES, INTERVALS, Figure, change_interval
from release.gates import Judgement

CLIENTS = {"as built": INFERENCE, "published": PUBLISHED}


def render(run: Artifacts, judged: Judgement, not_proven: list[str]) -> str:
    """The page as Markdown, well below the 65,536 characters of a comment on GitHub."""
    filters = {"cell": cell, "percent": lambda value: FIGURES[0].text(as_number(value))}
    try:
        return document(
            "pipeline_report.md.j2",
            filters,
            judged=judged,
            figures=[cells for cells in (_row(figure, judged) for figure in FIGURES) if cells[1:3] != ["–", "–"]],
            changes=_changes(judged.last, judged.run) if judged.last else [],
            evaluation=run.read(EVALUATION),
            image=run.read(IMAGE),
            osv=run.read(OSV),
            curves=_curves(run.get(METRICS, "history") or []),
            clients={name: run.read(file) for name, file in CLIENTS.items() if "error" not in run.read(file)},
            not_proven=not_proven,
        )
    except Exception as error:  # whatever broken files make of a template: the verdict is told all the same
        lines = [f"- {gate.verdict}: {gate.line()}" for gate in judged.gates]
        return "\n".join([f"# {judged.headline()}", "", *lines, "", f"The rest cannot be shown: {error!r}", ""])


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
        low, high = interval
        news = "" if low <= 0 <= high else ", **more than chance**"
        change += f" ({100 * low:+.2f} to {100 * high:+.2f}{news})"
    return [figure.title, figure.text(now), figure.text(then), change]


def _changes(last: dict[str, Any], now: dict[str, Any]) -> list[list[Any]]:
    """Settings and data that differ from the last release's: name, then, now."""
    named = ("settings", "data_digest", "data", "clips")
    then, here = (dict(pair for key in named for pair in _flat(key, run.get(key))) for run in (last, now))
    changed = [name for name in {**then, **here} if then.get(name) != here.get(name)]
    return [[name, then.get(name, "–"), here.get(name, "–")] for name in changed]


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from _flat(f"{name}.{key}", inner)
    if value is not None and not isinstance(value, dict):
        yield name, value


def _curves(history: list[dict[str, float]]) -> dict[str, Any] | None:
    """Accuracy by epoch in percent, at most 40 points; None where there is no line to draw."""
    shown = history[:: -(-len(history) // 40) or 1]
    if len(shown) < 2:
        return None
    lines = [[round(100 * row[key], 1) for row in shown] for key in ("train_acc", "val_acc")]
    return {"epochs": len(history), "floor": 10 * int(min(map(min, lines)) // 10), "lines": lines}
