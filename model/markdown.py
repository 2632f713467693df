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
