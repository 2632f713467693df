"""Shares with their intervals."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def wilson(correct: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927); honest for few clips and for shares near 1."""
    if total == 0:
        return 0.0, 1.0
    share = correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def share(hits: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """``bool[clips]`` -> how many, of how many, the share (0 where there is nothing) and its 95 % interval."""
    count, total = int(hits.sum()), len(hits)
    return {
        "count": count,
        "clips": total,
        "share": count / total if total else 0.0,
        "interval_95": list(wilson(count, total)),
    }
