"""`POST /detect`: every keyword in a longer recording."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, g, jsonify, request

from ..audio import decode
from ..detection import detect
from ..http import upload
from ..problems import Problem
from ..state import state_of

blueprint = Blueprint("detect", __name__)


@blueprint.post("/detect")
def keywords() -> Response:
    """Detections in the uploaded recording; the query's `threshold` goes before the model's own."""
    state = state_of()
    classifier = state.ready()
    info = classifier.info
    threshold = _threshold(info.rule.threshold)
    audio = decode(upload(), info.sample_rate, state.settings.max_seconds)
    answer: dict[str, Any] = {
        "detections": [
            {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(found).items()}
            for found in detect(classifier, audio.waveform, threshold)
        ],
        "threshold": threshold,
        "seconds": round(audio.seconds, 3),
        "model_version": info.version,
        "request_id": g.request_id,
    }
    return jsonify(answer)


def _threshold(default: float) -> float:
    text = request.args.get("threshold")
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise Problem("bad-request", "The query's threshold is not a number over 0 and at most 1.")
    return value
