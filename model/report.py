"""``report.md`` and its pictures: of a training run, or of an evaluation alone."""

from pathlib import Path
from typing import Any

from model import artefacts, plots, sections
from model.markdown import percent


def write(folder: Path, evaluation: dict[str, Any], metrics: dict[str, Any] | None = None) -> None:
    """Write the report and ``plots/`` into ``folder``, from the content of the JSON files beside it.

    ``metrics`` is that of ``train_metrics.json``; without it the report is of the evaluation alone.
    """
    pictures = folder / artefacts.PLOTS
    pictures.mkdir(exist_ok=True)
    if metrics is not None:
        plots.curves(metrics["history"], metrics["best_epoch"], pictures / artefacts.CURVES)
    plots.confusion(evaluation["confusion_matrix"], evaluation["labels"], pictures / artefacts.CONFUSION)
    plots.reliability(evaluation["calibration"]["bins"], pictures / artefacts.RELIABILITY)
    plots.operating(evaluation["operating"], pictures / artefacts.OPERATING)
    plots.robustness(evaluation["robustness"], pictures / artefacts.ROBUSTNESS)
    if evaluation.get("streaming"):
        plots.streaming(evaluation["streaming"], pictures / artefacts.STREAMING)
    (folder / artefacts.REPORT).write_text(render(evaluation, metrics), encoding="utf-8")


def render(evaluation: dict[str, Any], metrics: dict[str, Any] | None = None) -> str:
    """The report as Markdown."""
    parts = [
        "# Training report" if metrics else "# Evaluation report",
        *sections.failed(evaluation),
        _headline(evaluation, metrics),
        *sections.gates(evaluation),
        *sections.goals(evaluation),
        *(sections.curves(metrics) if metrics else []),
        *sections.test_split(evaluation),
        *sections.operating_point(evaluation),
        *sections.running_audio(evaluation),
        *sections.robustness(evaluation),
        *sections.calibration(evaluation),
        *(sections.data(metrics["data"]) if metrics else []),
        *(sections.training(metrics) if metrics else []),
    ]
    return "\n\n".join(parts) + "\n"


def _headline(evaluation: dict[str, Any], metrics: dict[str, Any] | None) -> str:
    low, high = evaluation["accuracy_interval_95"]
    operating = evaluation["operating"]
    text = (
        f"**{percent(evaluation['accuracy'])} of {evaluation['n']} test clips right** "
        f"(95 % interval {percent(low)} to {percent(high)}), "
        f"{percent(evaluation['keyword_accuracy'])} of the {evaluation['keyword_clips']} keywords."
    )
    if unseen := operating["false_accepts"].get("unseen words"):
        text += (
            f" At its threshold of {operating['threshold']:.3f} it accepts {percent(operating['recall']['share'])} of "
            f"the keywords, and takes {percent(unseen['share'])} of words that it has never heard for one."
        )
    trained = (
        f" {metrics['parameters']:,} parameters, trained in {metrics['training_time_sec']:.1f} s." if metrics else ""
    )
    return f"{text}{trained} Model version `{evaluation['model_version']}`."
