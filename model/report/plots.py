"""The pictures of a report: SVG on a transparent ground, legible on white and on dark grey alike."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")  # no display needed
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator

_INK, _BLUE, _ORANGE, _GREEN = "#7d8590", "#2f81f7", "#db6d28", "#2da44e"
_STYLE: Any = {
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), _INK
    ),
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
    drawn = {"confusion": "Confusion matrix"}
    side = max(3.2, 0.8 * len(evaluation["labels"]))
    with plt.rc_context({**_STYLE, "axes.grid": False}):
        _, axis = plt.subplots(figsize=(side + 0.6, side), layout="constrained")
        _confusion(axis, evaluation["confusion_matrix"], evaluation["labels"])
        _save(folder / "confusion.svg")
    with plt.rc_context(_STYLE):
        if metrics is not None:
            drawn["curves"] = "Loss and accuracy by epoch"
            _, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
            for axis, what, title in zip(axes, ("loss", "acc"), ("cross-entropy", "accuracy"), strict=True):
                _curve(axis, metrics["history"], what, metrics["best_epoch"])
                axis.set(xlabel="epoch", title=title)
            _save(folder / "curves.svg")
        drawn["operating"] = "False accepts against recall; share right against probability given"
        _, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
        _operating(axes[0], evaluation["operating"])
        _reliability(axes[1], evaluation["calibration"]["bins"])
        _save(folder / "operating.svg")
        if evaluation["streaming"]:
            drawn["streaming"] = "Keywords missed against false accepts an hour"
            _, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
            _streaming(axis, evaluation["streaming"])
            _save(folder / "streaming.svg")
    return drawn


def _curve(axis: Axes, history: list[dict[str, Any]], what: str, best_epoch: int) -> None:
    """Training and validation over the epochs, the kept epoch marked."""
    epochs = [int(row["epoch"]) for row in history]
    marker = "." if len(epochs) < 20 else ""
    axis.plot(epochs, [row[f"train_{what}"] for row in history], _ORANGE, marker=marker, label="training")
    axis.plot(epochs, [row[f"val_{what}"] for row in history], _BLUE, marker=marker, label="validation")
    axis.axvline(best_epoch, color=_INK, linestyle=":", label="kept")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()


def _confusion(axis: Axes, matrix: list[list[int]], labels: list[str]) -> None:
    """Rows: what was said; columns: what the model heard. Colour by share of the row, numbers are clips."""
    shares = [[cell / max(1, sum(row)) for cell in row] for row in matrix]
    # One blue, more or less opaque, so that an empty cell shows the page's own background.
    axis.imshow([[(*to_rgb(_BLUE), share) for share in row] for row in shares])
    for i, row in enumerate(matrix):
        for j, count in enumerate(row):
            axis.text(j, i, str(count), ha="center", va="center", color="white" if shares[i][j] > 0.5 else _INK)
    axis.set(xlabel="heard", ylabel="said")
    axis.set_xticks(range(len(labels)), labels, rotation=45 if len(labels) > 4 else 0)
    axis.set_yticks(range(len(labels)), labels)


def _operating(axis: Axes, measured: dict[str, Any]) -> None:
    """False accepts of each kind against keyword recall, with a ring at the stored threshold."""
    recalls = [100 * point["recall"] for point in measured["curve"]]
    for (kind, here), colour in zip(measured["false_accepts"].items(), (_ORANGE, _BLUE, _GREEN), strict=False):
        shares = [100 * point["false_accepts"][kind] for point in measured["curve"]]
        axis.plot(shares, recalls, colour, marker=".", label=kind)
        ring: Any = {"color": colour, "markersize": 9, "fillstyle": "none"}
        axis.plot(100 * here["share"], 100 * measured["recall"]["share"], "o", **ring)
    axis.set(xlabel="taken for a keyword, %", ylabel="keyword recall, %", ylim=(0, 101))
    _logarithmic(axis)
    axis.set_xlim(0, 100)


def _reliability(axis: Axes, bins: list[dict[str, float]]) -> None:
    """Accuracy against confidence; a calibrated model lies on the diagonal. The larger the dot, the more clips."""
    axis.plot([0, 1], [0, 1], color=_INK, linestyle=":", label="calibrated")
    sizes = [12 + 8 * row["clips"] ** 0.5 for row in bins]
    axis.scatter([r["confidence"] for r in bins], [r["accuracy"] for r in bins], s=sizes, color=_BLUE, label="test")
    axis.set(xlabel="probability given", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.04))
    axis.legend(loc="lower right")


def _streaming(axis: Axes, measured: dict[str, Any]) -> None:
    """Keywords missed against false accepts an hour of running audio, the stored rule marked."""
    rule, rates = measured["at_rule"], [point["false_accepts_per_hour"] for point in measured["curve"]]
    axis.plot(rates, [100 * point["misses"] for point in measured["curve"]], _BLUE, marker=".")
    axis.plot(rule["false_accepts_per_hour"], 100 * rule["misses"], "o", color=_ORANGE, label="as stored")
    axis.set(xlabel="false accepts an hour", ylabel="keywords missed, %", ylim=(0, None))
    _logarithmic(axis)
    axis.set_xlim(0, None)


def _logarithmic(axis: Axes) -> None:
    axis.set_xscale("symlog", linthresh=1)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.legend()


def _save(path: Path) -> None:
    plt.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    plt.close()
