"""What a model hears in files, as a table or as JSON; the window that speaks is chosen as the service does."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from kws.audio import AudioError, decode
from kws.detection import ClipResult, classify, is_keyword
from kws.model_file import Model, ModelInfo

Heard = dict[str, tuple[ClipResult, ModelInfo]]


def predict(model: Model, recordings: Sequence[Path]) -> tuple[Heard, list[str]]:
    """What is heard in each file that can be read, and a sentence for each that cannot."""
    heard, unread = {}, []
    for path in recordings:
        try:
            waveform = decode(path.read_bytes(), model.info.sample_rate).waveform
            heard[str(path)] = classify(model, waveform), model.info
        except AudioError as error:
            unread.append(f"'{path}' cannot be heard: {error.detail.rstrip('.')}")
        except OSError as error:
            unread.append(f"'{path}' cannot be read ({(error.strerror or str(error)).lower()}); give a recording")
    return heard, unread


def to_json(heard: Heard) -> str:
    """A JSON object a file, a line each; the windows of a longer recording in ``windows``."""
    lines = []
    for name, (found, info) in heard.items():
        by_label = [
            {label: round(float(p), 6) for label, p in zip(info.labels, row, strict=True)}
            for row in found.probabilities
        ]
        windows = [
            {"start": start / info.sample_rate, "level_dbfs": round(float(level), 1), "probabilities": probabilities}
            for start, level, probabilities in zip(found.starts, found.levels, by_label, strict=True)
        ]
        told = {
            "file": name,
            "prediction": found.label,
            "accepted": found.accepted,
            "threshold": info.threshold,
            "probabilities": by_label[found.best],
            "windows": windows,
        }
        lines.append(json.dumps(told))
    return "\n".join(lines)


def render(heard: Heard, every_window: bool = False) -> str:
    """A table for a terminal: a line a file, or a line a window, ``*`` at the one that speaks for its file."""
    info = next(iter(heard.values()))[1]
    table = Table("file", *(["window at"] if every_window else []), "heard", *info.labels, box=MARKDOWN)
    for name, (found, _) in heard.items():
        for index in range(len(found.starts)) if every_window else [found.best]:
            row = found.probabilities[index]
            label = info.labels[int(row.argmax())]
            place = f"{found.starts[index] / info.sample_rate:.2f} s{' *' if index == found.best else ''}"
            shown = label if found.accepted or index != found.best else f"({label})"
            table.add_row(name, *([place] if every_window else []), shown, *(f"{100 * p:.1f} %" for p in row))
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines() if line.strip()]
    if any(not found.accepted and is_keyword(found.label) for found, _ in heard.values()):
        lines += ["", f"In brackets: below the model's threshold of {info.threshold:.2f}."]
    return "\n".join(lines)
