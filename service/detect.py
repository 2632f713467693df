"""`POST /detect`: every keyword in a longer recording."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, request

from kws.audio import decode
from kws.detection import Detection, detect
from kws.model_file import ModelInfo
from service import metrics, upload
from service.predict import described
from service.problems import Problem
from service.readiness import state_of

blueprint = Blueprint("detect", __name__)


@blueprint.post("/detect")
def keywords() -> Response:
    """Detections in the uploaded recording, by the query's `threshold` or `sensitivity` where it has one."""
    begin = time.perf_counter()
    info = (model := (state := state_of()).ready()).info
    threshold = read_threshold(request.args, info)
    data = upload.audio_file(request.get_data(), request.content_type or "")
    audio = decode(data, info.sample_rate, state.settings.max_seconds)
    decoded = time.perf_counter()
    found = [as_json(detection, "detect") for detection in detect(model, audio.waveform, threshold)]
    end = time.perf_counter()
    metrics.count("detect", audio, {"decode": decoded - begin, "inference": end - decoded, "total": end - begin})
    return jsonify(
        detections=found,
        threshold=threshold,
        latency_ms=round((end - decoded) * 1e3, 3),
        model_version=info.version,
        request_id=request.environ["kws.request"].id,
        audio=described(audio),
    )


def as_json(detection: Detection, endpoint: str) -> dict[str, Any]:
    """A detection as an answer has it; counted for `endpoint`."""
    metrics.DETECTIONS.labels(endpoint, detection.label).inc()
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(detection).items()}


def read_threshold(query: Mapping[str, str], info: ModelInfo) -> float:
    """What the query asks for by `threshold` or by `sensitivity`, else the rule's own. Raises Problem."""
    if (name := query.get("sensitivity")) is not None:
        if "threshold" in query or name not in info.sensitivities:
            known = ", ".join(info.sensitivities) or "none, as the model was trained without running speech"
            raise Problem("bad-request", f"The query has one of threshold and sensitivity; the model has {known}.")
        return info.sensitivities[name]
    with suppress(ValueError):
        if 0 < (value := float(query.get("threshold", info.rule.threshold))) <= 1:
            return value
    raise Problem("bad-request", "The query's threshold is not a number over 0 and at most 1.")
