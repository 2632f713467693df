"""Documents about a model, for people: ``report.md`` with its plots, and ``model_card.md``; from templates."""

from pathlib import Path
from typing import Any

from model.report import model_card, plots, training_report


def write(folder: Path, evaluation: dict[str, Any], metrics: dict[str, Any] | None = None) -> None:
    """Write ``report.md``, ``plots/`` and, of a training, ``model_card.md`` into ``folder``, which is there, by the
    contents of ``evaluation.json`` and ``train_metrics.json``; ``metrics`` is None of an evaluation alone."""
    drawn = plots.draw(folder / "plots", evaluation, metrics)
    (folder / "report.md").write_text(training_report.render(evaluation, metrics, drawn), encoding="utf-8")
    if metrics is not None:
        (folder / "model_card.md").write_text(model_card.render(evaluation, metrics), encoding="utf-8")
