"""An answer of `/predict` that is right in form, and changed ones."""

from __future__ import annotations

import copy
from typing import Any

from .tones import VERSION

Answer = dict[str, Any]

GOOD: Answer = {
    "prediction": "up",
    "confidence": 0.7,
    "probabilities": {"up": 0.7, "down": 0.1, "yes": 0.1, "no": 0.1},
    "latency_ms": 0.5,
    "model_version": VERSION,
    "request_id": "x",
}


def change(**fields: object) -> Answer:
    return copy.deepcopy(GOOD) | fields
