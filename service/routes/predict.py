"""`POST /predict`: the keyword in one recording."""

from __future__ import annotations

import json
import time
from typing import Any

from flask import Blueprint, Response, g

from .. import metrics
from ..audio import decode
from ..classifier import Probabilities, classify
from ..http import upload
from ..state import State, state_of

blueprint = Blueprint("predict", __name__)


@blueprint.post("/predict")
def predict() -> Response:
    """Classify an uploaded recording: the multipart field `file`, or the raw body whatever its media type."""
    begin = time.perf_counter()
    state = state_of()
    state.ready()
    body, timing = answer(state, upload(), g.request_id, begin)
    response = Response(body, mimetype="application/json")
    response.headers["Server-Timing"] = timing
    return response


def answer(state: State, data: bytes, request_id: str, begin: float) -> tuple[bytes, str]:
    """The body and the Server-Timing header of the answer to `data`, whose request began at `begin`.

    Raises:
        Problem: the service is not ready, or `data` is no audio that it takes.
    """
    received = time.perf_counter()
    classifier = state.ready()
    info = classifier.info
    audio = decode(data, info.sample_rate, state.settings.max_seconds)
    decoded = time.perf_counter()
    result = classify(classifier, audio.waveform)
    found: dict[str, Any] = _scores(info.labels, result.probabilities[result.best]) | {
        "latency_ms": round(result.milliseconds, 3),
        "model_version": info.version,
        "model_sha256": info.sha256,
        "request_id": request_id,
        "audio": {
            "seconds": round(audio.seconds, 3),
            "sample_rate": audio.sample_rate,
            "channels": audio.channels,
            "format": audio.format,
        },
    }
    if len(result.starts) > 1:
        found["windows"] = [
            {
                "start": round(start / info.sample_rate, 3),
                "end": round((start + info.clip_samples) / info.sample_rate, 3),
                "level_dbfs": round(float(level), 1),
            }
            | _scores(info.labels, probabilities)
            for start, level, probabilities in zip(result.starts, result.levels, result.probabilities, strict=True)
        ]
    body = json.dumps(found).encode() + b"\n"
    total = time.perf_counter() - begin
    metrics.DECODE.observe(decoded - received)
    metrics.INFERENCE.observe(result.milliseconds / 1e3)
    metrics.TOTAL.observe(total)
    metrics.PREDICTIONS.labels(found["prediction"]).inc()
    metrics.LEVEL.observe(float(result.levels[result.best]))
    metrics.DURATION.observe(audio.seconds)
    return body, (
        f"receive;dur={(received - begin) * 1e3:.3f}, decode;dur={(decoded - received) * 1e3:.3f}, "
        f"inference;dur={result.milliseconds:.3f}, total;dur={total * 1e3:.3f}"
    )


def _scores(labels: tuple[str, ...], probabilities: Probabilities) -> dict[str, Any]:
    best = int(probabilities.argmax())
    return {
        "prediction": labels[best],
        "confidence": round(float(probabilities[best]), 6),
        "probabilities": dict(zip(labels, (round(p, 6) for p in probabilities.tolist()), strict=True)),
    }
