"""The pictures of a report: SVG on a transparent ground, legible on white and on dark grey alike."""

from collections.abc import Callable
from functools import partial
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
    pictures: dict[str, tuple[str, list[Callable[[Axes], None]]]] = {
        "confusion": ("Confusion matrix", [partial(_confusion, evaluation)]),
        "operating": ("False accepts against recall", [partial(_operating, evaluation["operating"])]),
    }
    if metrics is not None:
        pictures["curves"] = (
            "Loss and accuracy by epoch",
            [partial(_curve, metrics, what) for what in ("loss", "acc")],
        )
    for name, (_, panels) in pictures.items():
        height = max(3.8, 0.7 * len(evaluation["labels"])) if name == "confusion" else 3.8
        with plt.rc_context(_STYLE):
            size = (4.6 * len(panels) if len(panels) > 1 else 1.4 * height, height)
            _, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", squeeze=False)
            for axis, panel in zip(axes[0], panels, strict=True):
                panel(axis)
            plt.savefig(folder / f"{name}.svg", format="svg", transparent=True, metadata={"Date": None})
            plt.close()
    return {name: title for name, (title, _) in pictures.items()}


def _curve(metrics: dict[str, Any], what: str, axis: Axes) -> None:
    """Loss or accuracy of training and validation over the epochs, the kept epoch marked."""
    epochs = [int(row["epoch"]) for row in metrics["history"]]
    for part, colour, name in (("train", _ORANGE, "training"), ("val", _BLUE, "validation")):
        axis.plot(epochs, [row[f"{part}_{what}"] for row in metrics["history"]], colour, marker=".", label=name)
    axis.axvline(metrics["best_epoch"], color=_INK, linestyle=":", label="kept")
    axis.set(xlabel="epoch", title="cross-entropy" if what == "loss" else "accuracy")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()


def _confusion(evaluation: dict[str, Any], axis: Axes) -> None:
    """Rows: what was said; columns: what the model heard. Colour by share of the row, numbers are clips."""
    matrix, labels = evaluation["confusion_matrix"], evaluation["labels"]
    shares = [[cell / max(1, sum(row)) for cell in row] for row in matrix]
    # One blue, more or less opaque, so that an empty cell shows the page's own background.
    axis.imshow([[(*to_rgb(_BLUE), share) for share in row] for row in shares])
    for i, row in enumerate(matrix):
        for j, count in enumerate(row):
            axis.text(j, i, str(count), ha="center", va="center", color="white" if shares[i][j] > 0.5 else _INK)
    axis.set(xlabel="heard", ylabel="said")
    axis.grid(visible=False)
    axis.set_xticks(range(len(labels)), labels, rotation=45 if len(labels) > 4 else 0)
    axis.set_yticks(range(len(labels)), labels)


def _operating(measured: dict[str, Any], axis: Axes) -> None:
    """False accepts of each kind against keyword recall, with a ring at the stored threshold."""
    recalls = [100 * point["recall"] for point in measured["curve"]]
    for (kind, here), colour in zip(measured["false_accepts"].items(), (_ORANGE, _BLUE, _GREEN), strict=False):
        shares = [100 * point["false_accepts"][kind] for point in measured["curve"]]
        axis.plot(shares, recalls, colour, marker=".", label=kind)
        ring: Any = {"color": colour, "markersize": 9, "fillstyle": "none"}
        axis.plot(100 * here["share"], 100 * measured["recall"]["share"], "o", **ring)
    axis.set(xlabel="taken for a keyword, %", ylabel="keyword recall, %", ylim=(0, 101))
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xlim(0, 100)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.legend()
