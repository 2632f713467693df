"""The pictures of a report: SVG on a transparent ground, legible on white and on dark grey alike."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")  # no display needed
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from model.gates import GOALS, STREAMING_RATE

# Mid-tones that read on white and on GitHub's dark grey alike; the background stays transparent.
_INK, _BLUE, _ORANGE, _GREEN, _RED = "#7d8590", "#2f81f7", "#db6d28", "#2da44e", "#e5534b"
_COLOURS = (_ORANGE, _BLUE, _GREEN)
_STYLE: Any = {
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 11,
    "legend.frameon": False,
    "svg.hashsalt": "kws",  # stable ids: the same run gives the same file
}


def curves(history: list[dict[str, float]], best_epoch: int, path: Path) -> None:
    """Loss and accuracy over the epochs, training and validation, the kept epoch marked."""
    epochs = [int(row["epoch"]) for row in history]
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        for axis, what, title in zip(axes, ("loss", "acc"), ("cross-entropy", "accuracy"), strict=True):
            marker = "." if len(epochs) < 20 else ""
            axis.plot(epochs, [row[f"train_{what}"] for row in history], _ORANGE, marker=marker, label="training")
            axis.plot(epochs, [row[f"val_{what}"] for row in history], _BLUE, marker=marker, label="validation")
            axis.axvline(best_epoch, color=_INK, linestyle=":", label="kept")
            axis.set(xlabel="epoch", title=title)
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.legend()
        _save(figure, path)


def confusion(matrix: list[list[int]], labels: list[str], path: Path) -> None:
    """Rows: what was said; columns: what the model heard. Colour by share of the row, numbers are clips."""
    size = max(3.2, 0.8 * len(labels))
    with plt.rc_context({**_STYLE, "axes.grid": False}):
        figure, axis = plt.subplots(figsize=(size + 0.6, size), layout="constrained")
        shares = [[cell / max(1, sum(row)) for cell in row] for row in matrix]
        # One blue, more or less opaque, so that an empty cell shows the page's own background.
        axis.imshow([[(*to_rgb(_BLUE), share) for share in row] for row in shares])
        for i, row in enumerate(matrix):
            for j, count in enumerate(row):
                axis.text(j, i, str(count), ha="center", va="center", color="white" if shares[i][j] > 0.5 else _INK)
        axis.set(xlabel="heard", ylabel="said")
        axis.set_xticks(range(len(labels)), labels, rotation=45 if len(labels) > 4 else 0)
        axis.set_yticks(range(len(labels)), labels)
        _save(figure, path)


def reliability(bins: list[dict[str, float]], path: Path) -> None:
    """Accuracy against confidence; a calibrated model lies on the diagonal. The larger the dot, the more clips."""
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(4.2, 3.8), layout="constrained")
        axis.plot([0, 1], [0, 1], color=_INK, linestyle=":", label="calibrated")
        sizes = [12 + 8 * row["clips"] ** 0.5 for row in bins]
        axis.scatter([r["confidence"] for r in bins], [r["accuracy"] for r in bins], s=sizes, color=_BLUE, label="test")
        axis.set(xlabel="probability given", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.04))
        axis.legend(loc="lower right")
        _save(figure, path)


def operating(measured: dict[str, Any], path: Path) -> None:
    """False accepts of each kind against keyword recall, the chosen threshold and the goals marked."""
    points = measured["curve"]
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
        for kind, colour in zip(measured["false_accepts"], _COLOURS, strict=False):
            shares = [100 * point["false_accepts"][kind] for point in points]
            axis.plot(shares, [100 * point["recall"] for point in points], colour, marker=".", label=kind)
            here = measured["false_accepts"][kind]["share"]
            axis.plot(100 * here, 100 * measured["recall"]["share"], "o", color=colour, markersize=9, fillstyle="none")
        axis.axhline(100 * GOALS["recall"], color=_INK, linestyle=":")
        axis.axvline(100 * GOALS["unseen words"], color=_INK, linestyle=":")
        axis.set(xlabel="taken for a keyword, %", ylabel="keyword recall, %", ylim=(60, 101))
        axis.set_xscale("symlog", linthresh=1)
        axis.set_xlim(0, 100)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.legend(loc="best")
        _save(figure, path)


def robustness(measured: dict[str, Any], path: Path) -> None:
    """Keyword accuracy in each case: a dot, red where it misses the bound, which is the short line."""
    cases = measured["cases"]
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(7.2, 0.32 * len(cases) + 1.1), layout="constrained")
        rows = range(len(cases))
        axis.axvline(100 * measured["clean"], color=_INK, linestyle=":", label="clean")
        axis.scatter([100 * c["least"] for c in cases], rows, marker="|", s=120, color=_INK, label="bound")
        colours = [_BLUE if case["passed"] else _RED for case in cases]
        axis.scatter([100 * c["accuracy"] for c in cases], rows, color=colours, label="measured", zorder=3)
        axis.set_yticks(rows, [case["name"] for case in cases])
        axis.invert_yaxis()
        axis.set(xlabel="keyword accuracy, %")
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=3)
        _save(figure, path)


def streaming(measured: dict[str, Any], path: Path) -> None:
    """Keywords missed against false accepts an hour of running audio, the goal and the stored rule marked."""
    points, rule = measured["curve"], measured["at_rule"]
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
        rates = [point["false_accepts_per_hour"] for point in points]
        axis.step(rates, [100 * point["misses"] for point in points], _BLUE, where="post")
        axis.plot(rule["false_accepts_per_hour"], 100 * rule["misses"], "o", color=_ORANGE, label="as stored")
        _goal(axis)
        axis.set_xscale("symlog", linthresh=0.5)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set(xlabel="false accepts an hour", ylabel="keywords missed, %", ylim=(0, None), xlim=(0, None))
        axis.legend()
        _save(figure, path)


def _goal(axis: Axes) -> None:
    axis.plot(STREAMING_RATE, 100 * GOALS["streaming misses"], "x", color=_INK, label="goal")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
