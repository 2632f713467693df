"""``report.md`` of a training run, and its pictures."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")  # no display needed
import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from model.markdown import percent, table

# Mid-tones that read on white and on GitHub's dark grey alike; the background stays transparent.
_INK, _BLUE, _ORANGE = "#7d8590", "#2f81f7", "#db6d28"
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
    "svg.hashsalt": "kws",  # stable ids: the same run gives the same file
}


def plot_curves(history: list[dict[str, float]], best_epoch: int, path: Path) -> None:
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
            axis.legend(frameon=False)
        _save(figure, path)


def plot_confusion(matrix: list[list[int]], labels: list[str], path: Path) -> None:
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
        axis.set_xticks(range(len(labels)), labels, rotation=45 if len(labels) > 6 else 0)
        axis.set_yticks(range(len(labels)), labels)
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)


def render(metrics: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """The report of a run from the content of ``train_metrics.json`` and ``evaluation.json``."""
    low, high = evaluation["accuracy_interval_95"]
    data = metrics["data"]
    sections = [
        "# Training report",
        f"**{percent(evaluation['accuracy'])} of {evaluation['n']} test clips right** "
        f"(95 % interval {percent(low)} to {percent(high)}), "
        f"{metrics['parameters']:,} parameters, trained in {metrics['training_time_sec']:.1f} s. "
        f"Model version `{metrics['model_version']}`.",
        "![Loss and accuracy by epoch](plots/curves.svg)",
        "## Test split",
        table(
            ["label", "precision", "recall", "F1", "clips"],
            [
                [label, percent(f["precision"]), percent(f["recall"]), percent(f["f1"]), f["clips"]]
                for label, f in evaluation["per_class"].items()
            ],
        ),
        "![Confusion matrix](plots/confusion.svg)",
        _mistakes(evaluation["mistakes"]),
        "## Data",
        _data(data),
        "## Training",
        table(["setting", "value"], [[f"`{name}`", _plain(value)] for name, value in metrics["settings"].items()]),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in metrics["versions"].items()) + ".",
        f"Epoch {metrics['best_epoch']} of {metrics['epochs']} was kept: "
        f"{percent(metrics['best_val_acc'])} of the validation clips right, loss {metrics['best_val_loss']:.4f}. "
        f"{metrics['samples_per_sec']:,.0f} clips a second; "
        + ", ".join(f"{name} {percent(share)}" for name, share in metrics["time_shares"].items())
        + f" of the time. ONNX against PyTorch: largest difference {metrics['onnx']['parity_max_difference']:.1e}, "
        f"file {metrics['onnx']['size_bytes'] / 1e6:.2f} MB.",
        "<details><summary>History</summary>\n\n"
        + table(
            ["epoch", "train loss", "train acc", "val loss", "val acc"],
            [
                [
                    r["epoch"],
                    f"{r['train_loss']:.4f}",
                    percent(r["train_acc"]),
                    f"{r['val_loss']:.4f}",
                    percent(r["val_acc"]),
                ]
                for r in metrics["history"]
            ],
        )
        + "\n\n</details>",
    ]
    return "\n\n".join(sections) + "\n"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _mistakes(mistakes: list[dict[str, Any]]) -> str:
    if not mistakes:
        return "No mistakes on the test split."
    rows = [[f"`{m['clip']}`", m["label"], m["prediction"], percent(m["probability"])] for m in mistakes[:15]]
    more = f"\n\n… and {len(mistakes) - 15} more in `evaluation.json`." if len(mistakes) > 15 else ""
    return "The surest mistakes:\n\n" + table(["clip", "said", "heard", "sure"], rows) + more


def _data(data: dict[str, Any]) -> str:
    columns = ["read", "padded", "cut", "silent", "broken"]
    rows = [[name, *(audit[c] for c in columns)] for name, audit in data["splits"].items()]
    text = (
        f"{data['source']}; split by {data['split_rule']}; digest `{data['digest'][:12]}`. "
        f"Licence: {data['licence'] or 'not known'}. {data['attribution']}"
    )
    notes = (
        "Padded: shorter than a second, zeros added. Cut: longer, the loudest second kept. Silent: below "
        f"{data['silent_dbfs']:.0f} dBFS, kept. Broken: not decodable or empty, left out."
    )
    broken = [f"`{n}` ({why})" for audit in data["splits"].values() for n, why in audit["broken_clips"].items()]
    listed = f"\n\nBroken: {', '.join(broken)}." if broken else ""
    return f"{text}\n\n{table(['split', *columns], rows)}\n\n{notes}{listed}"
