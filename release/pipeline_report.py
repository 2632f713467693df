"""``report.md``: the one page of a run, verdict first, of figures of ``gates.FIGURES``; also job summary, comment."""

import math
from pathlib import Path
from typing import Any

from release.artifacts import EVALUATION, IMAGE, INFERENCE, METRICS, OSV, PUBLISHED, TEMPLATES, Artifacts, as_number
from release.gates import FIGURES, LAST, Figure


def render(run: Artifacts, judged: dict[str, Any], not_proven: list[str]) -> str:
    """The page as Markdown, well below the 65,536 characters of a comment on GitHub."""
    rows = [_row(figure, run, judged["figures"]) for figure in FIGURES]
    clients = {"as built": run.read(INFERENCE), "published": run.read(PUBLISHED)}
    try:
        return TEMPLATES.get_template("pipeline_report.md.j2").render(
            judged=judged,
            figures=[cells for cells in rows if cells[1:3] != ["–", "–"]],
            last=run.get(LAST, "run"),
            changes=_changes(run, judged["run"]),
            evaluation=run.read(EVALUATION),
            image=run.read(IMAGE),
            osv=run.read(OSV),
            history=run.get(METRICS, "history") or [],
            clients={name: client for name, client in clients.items() if "error" not in client},
            not_proven=not_proven,
        )
    except Exception as error:  # whatever broken files make of a template: the verdict is told all the same
        told = [*not_proven, f"what else the files say, for it cannot be shown: {error!r}"]
        return render(run._replace(root=Path("/dev/null")), judged, told)


def cell(value: Any) -> str:
    """Text from outside in a table: on one line, without what would end the cell or begin markup."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "|`*_<>[]\\#" else letter for letter in text)[:600]


TEMPLATES.filters |= {"cell": cell, "percent": lambda value: FIGURES[0].text(as_number(value))}


def _row(figure: Figure, run: Artifacts, figures: dict[str, Any]) -> list[str]:
    """Title, now, last release, change with its interval where it has one."""
    now, then = figures[figure.key], as_number(run.get(LAST, f"figures/{figure.key}"))
    change = figure.text(now - then, "+") if now is not None and then is not None else "–"
    return [figure.title, figure.text(now), figure.text(then), change + _interval(figure.key, figures, run)]


def _interval(key: str, now: dict[str, Any], run: Artifacts) -> str:
    """95 % interval of a share's change, from the two Wilson intervals (Newcombe 1998, method 10).

    On the same clips it is wider than need be: the two models err on many clips together.
    """
    try:
        share, (low, high) = now[key], now[f"{key}_interval_95"]
        last_share, (last_low, last_high) = (run.get(LAST, f"figures/{name}") for name in (key, f"{key}_interval_95"))
        down, up = math.hypot(share - low, last_high - last_share), math.hypot(high - share, last_share - last_low)
        low, high = share - last_share - down, share - last_share + up
        return f" ({100 * low:+.2f} to {100 * high:+.2f}{'' if low <= 0 <= high else ', **more than chance**'})"
    except (LookupError, TypeError, ValueError, OverflowError):
        return ""


def _changes(run: Artifacts, now: dict[str, Any]) -> list[list[Any]]:
    """Settings and data that differ from the last release's: name, then, now."""
    then, here = _about(run.get(LAST, "run")), _about(now)
    changed = [name for name in {**then, **here} if then and then.get(name) != here.get(name)]
    return [[name, then.get(name, "–"), here.get(name, "–")] for name in changed]


def _about(run: Any) -> dict[str, Any]:
    told = run if isinstance(run, dict) else {}
    parts = [(part, told[part]) for part in ("settings", "data", "clips") if isinstance(told.get(part), dict)]
    found = {f"{part}.{name}": value for part, content in parts for name, value in content.items()}
    return found | ({"data_digest": told["data_digest"]} if told.get("data_digest") else {})
