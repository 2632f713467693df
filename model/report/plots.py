"""The pictures of a report: SVG on a transparent ground, legible on white and on dark grey alike."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_INK, _BLUE, _ORANGE = "#7d8590", "#2f81f7", "#db6d28"
_INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
_STYLE: Any = dict.fromkeys(_INKED, _INK) | {
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 11,
    "legend.frameon": False,
    "svg.hashsalt": "kws",  # stable ids: the same run gives the same file
}


@matplotlib.rc_context(_STYLE)
def draw(folder: Path, evaluation: dict[str, Any], metrics: dict[str, Any] | None) -> dict[str, str]:
    """Draw what there is figures of into ``folder``; name -> title of each picture."""
    folder.mkdir(exist_ok=True)
    drawn = {}
    if evaluation["running_audio"]:
        drawn["running"] = "Commands missed against false accepts an hour", _running(evaluation["running_audio"])
    if metrics:
        drawn["curves"] = "Loss and accuracy by epoch", _curves(metrics)
    for name, (_, figure) in drawn.items():
        figure.savefig(folder / f"{name}.svg", transparent=True, metadata={"Date": None})
    return {name: title for name, (title, _) in drawn.items()}


def _curves(metrics: dict[str, Any]) -> Figure:
    figure, history = Figure((9.2, 3.8), layout="constrained"), metrics["history"]
    for axis, what, title in zip(figure.subplots(1, 2), ("loss", "acc"), ("cross-entropy", "accuracy"), strict=True):
        for part, colour, name in (("train", _ORANGE, "training"), ("val", _BLUE, "validation")):
            values = [row[f"{part}_{what}"] for row in history]
            axis.plot([int(row["epoch"]) for row in history], values, colour, marker=".", label=name)
        axis.axvline(metrics["best_epoch"], color=_INK, linestyle=":", label="kept")
        axis.set(xlabel="epoch", title=title)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend()
    return figure


def _running(measured: dict[str, Any]) -> Figure:
    """Commands missed against false accepts an hour, with a ring at each sensitivity."""
    figure = Figure((5.3, 3.8), layout="constrained")
    axis, rates = figure.subplots(), [point["false_accepts_per_hour"] for point in measured["curve"]]
    axis.plot(rates, [100 * point["misses"] for point in measured["curve"]], _BLUE, marker=".")
    for name, point in measured["operating"].items():
        place = point["false_accepts_per_hour"], 100 * point["misses"]["share"]
        axis.plot(*place, "o", color=_ORANGE, markersize=9, fillstyle="none")
        axis.annotate(name, place, (6, 6), textcoords="offset points")
    axis.set(xlabel="false accepts an hour", ylabel="commands missed, %", ylim=(0, 101))
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xlim(0, max(10, *rates))
    axis.xaxis.set_major_formatter("{x:g}")
    return figure
