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
from model.files import reason

Heard = dict[str, ClipResult]


def predict(model: Model, recordings: Sequence[Path]) -> tuple[Heard, list[str]]:
    """What is heard in each file that can be read, and a sentence for each that cannot."""
    heard, unread = {}, []
    for path in recordings:
        try:
            heard[str(path)] = classify(model, decode(path.read_bytes(), model.info.sample_rate).waveform)
        except AudioError as error:
            unread.append(f"'{path}' cannot be heard: {error.detail.rstrip('.')}")
        except OSError as error:
            unread.append(f"'{path}' cannot be read ({reason(error)}); give a recording")
    return heard, unread


def to_json(heard: Heard, info: ModelInfo) -> str:
    """A JSON object a file, a line each; the windows of a longer recording in ``windows``."""
    lines = []
    for name, found in heard.items():
        told = {"file": name, "prediction": found.label, "accepted": found.accepted, "threshold": info.threshold}
        windows = [
            {
                "start": start / info.sample_rate,
                "level_dbfs": round(float(level), 1),
                "probabilities": dict(zip(info.labels, (round(float(each), 6) for each in row), strict=True)),
            }
            for start, level, row in zip(found.starts, found.levels, found.probabilities, strict=True)
        ]
        probabilities = windows[found.best]["probabilities"]
        lines.append(json.dumps({**told, "probabilities": probabilities, "windows": windows}))
    return "\n".join(lines)


def render(heard: Heard, info: ModelInfo, every_window: bool = False) -> str:
    """A table for a terminal: a line a file, or a line a window, ``*`` at the one that speaks for its file."""
    table = Table("file", *["window at"] * every_window, "heard", *info.labels, box=MARKDOWN)
    for name, found in heard.items():
        for index in range(len(found.starts)) if every_window else [found.best]:
            row, best = found.probabilities[index], index == found.best
            place = f"{found.starts[index] / info.sample_rate:.2f} s{' *' * best}"
            label = f"({found.label})" if best and not found.accepted else info.labels[int(row.argmax())]
            table.add_row(name, *[place] * every_window, label, *(f"{100 * each:.1f} %" for each in row))
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines() if line.strip()]
    if any(not found.accepted and is_keyword(found.label) for found in heard.values()):
        lines += ["", f"In brackets: below the model's threshold of {info.threshold:.2f}."]
    return "\n".join(lines)
