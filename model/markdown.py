"""The few pieces of Markdown that reports are made of. Standard library only."""

from collections.abc import Sequence
from typing import Any


def percent(share: float) -> str:
    """``0.96531`` -> ``96.5 %``."""
    return f"{100 * share:.1f} %"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; what stands in the first column goes to the left, all else to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def padded_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """As ``table``, with its columns aligned, so that it reads well on a terminal too."""
    lines = [[str(cell) for cell in line] for line in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    padded = [
        [
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in (padded[0], rule, *padded[1:]))
