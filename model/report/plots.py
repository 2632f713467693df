"""The pictures of a report: SVG on a transparent ground, legible on white and on dark grey alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")  # no display needed
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
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


def draw(folder: Path, evaluation: dict[str, Any], metrics: dict[str, Any] | None) -> dict[str, str]:
    """Draw what there is figures of into ``folder``; name -> title of each picture."""
    folder.mkdir(exist_ok=True)
    titles = {}
    if evaluation["running_audio"]:
        titles["running"] = "Commands missed against false accepts an hour"
        with _picture(folder / "running.svg", 5.3) as (axis,):
            _running(evaluation["running_audio"], axis)
    if metrics:
        titles["curves"] = "Loss and accuracy by epoch"
        with _picture(folder / "curves.svg", 9.2, panels=2) as axes:
            for axis, what in zip(axes, ("loss", "acc"), strict=True):
                _curve(metrics, what, axis)
    return titles


@contextmanager
def _picture(path: Path, width: float, panels: int = 1) -> Iterator[list[Axes]]:
    """Panels side by side, saved when the block ends; ``width`` is in inches."""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, panels, figsize=(width, 3.8), layout="constrained", squeeze=False)
        yield list(axes[0])
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)


def _curve(metrics: dict[str, Any], what: str, axis: Axes) -> None:
    history = metrics["history"]
    for part, colour, name in (("train", _ORANGE, "training"), ("val", _BLUE, "validation")):
        values = [row[f"{part}_{what}"] for row in history]
        axis.plot([int(row["epoch"]) for row in history], values, colour, marker=".", label=name)
    axis.axvline(metrics["best_epoch"], color=_INK, linestyle=":", label="kept")
    axis.set(xlabel="epoch", title="cross-entropy" if what == "loss" else "accuracy")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()


def _running(measured: dict[str, Any], axis: Axes) -> None:
    """Commands missed against false accepts an hour, with a ring at each sensitivity."""
    rates = [point["false_accepts_per_hour"] for point in measured["curve"]]
    axis.plot(rates, [100 * point["misses"] for point in measured["curve"]], _BLUE, marker=".")
    for name, point in measured["operating"].items():
        place = point["false_accepts_per_hour"], 100 * point["misses"]["share"]
        axis.plot(*place, "o", color=_ORANGE, markersize=9, fillstyle="none")
        axis.annotate(name, place, (6, 6), textcoords="offset points")
    axis.set(xlabel="false accepts an hour", ylabel="commands missed, %", ylim=(0, 101))
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xlim(0, max(10, *rates))
    axis.xaxis.set_major_formatter("{x:g}")
