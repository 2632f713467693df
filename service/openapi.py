"""The OpenAPI 3.1 description of the service, with its present limits."""

from __future__ import annotations

from typing import Any

from .gate import is_health
from .problems import PROBLEMS
from .settings import Settings

Object = dict[str, Any]

_STRING, _NUMBER = {"type": "string"}, {"type": "number"}
_PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}


def _object(required: Object, **optional: Object) -> Object:
    return {"type": "object", "required": list(required), "properties": required | optional}


_SCORES: Object = {
    "prediction": _STRING,
    "confidence": _PROBABILITY,
    "probabilities": {"type": "object", "additionalProperties": _PROBABILITY},
}
_WINDOW = _object({"start": _NUMBER, "end": _NUMBER, "level_dbfs": _NUMBER} | _SCORES)
_AUDIO = _object(
    {
        "seconds": _NUMBER,
        "sample_rate": {"type": "integer"},
        "channels": {"type": "integer"},
        "format": {"enum": ["WAV", "FLAC", "Ogg", "MP3"]},
    }
)
_TENSOR = _object(
    {
        "name": {"const": "waveform"},
        "datatype": {"const": "FP32"},
        "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
    },
    data={"type": "array"},
    parameters={"type": "object"},
)
SCHEMAS: Object = {
    "Prediction": _object(
        _SCORES
        | {
            "latency_ms": _NUMBER,
            "model_version": _STRING,
            "model_sha256": _STRING,
            "request_id": _STRING,
            "audio": _AUDIO,
        },
        windows={"type": "array", "items": _WINDOW, "description": "Of audio longer than one window"},
    ),
    "Detections": _object(
        {
            "detections": {
                "type": "array",
                "items": _object({"label": _STRING, "start": _NUMBER, "end": _NUMBER, "confidence": _PROBABILITY}),
            },
            "threshold": _NUMBER,
            "seconds": _NUMBER,
            "model_version": _STRING,
            "request_id": _STRING,
        }
    ),
    "InferRequest": _object({"inputs": {"type": "array", "items": _TENSOR, "minItems": 1, "maxItems": 1}}, id=_STRING),
    "InferResponse": _object({"model_name": _STRING, "model_version": _STRING, "outputs": {"type": "array"}}),
    "Problem": _object(
        {
            "type": {"type": "string", "examples": [f"/problems/{name}" for name in PROBLEMS]},
            "title": _STRING,
            "status": {"type": "integer"},
            "detail": _STRING,
            "request_id": {"type": ["string", "null"]},
        }
    ),
}
_PROBLEM: Object = {
    "description": "A problem document (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def _ref(name: str) -> Object:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _get(summary: str, media_type: str = "application/json", *, ready: bool = False, **extra: Any) -> Object:
    responses = {"200": {"description": summary, "content": {media_type: {}}}}
    if ready:
        responses["503"] = _PROBLEM
    if "parameters" in extra:
        responses["404"] = _PROBLEM
    return {"get": {"summary": summary, "responses": responses} | extra}


def _post(summary: str, content: Object, answer: str, *errors: int, **extra: Any) -> Object:
    responses = {"200": {"description": summary, "content": _ref(answer)}}
    responses |= {str(status): _PROBLEM for status in (*errors, 413, 503)}
    return {
        "post": {"summary": summary, "requestBody": {"required": True, "content": content}, "responses": responses}
        | extra
    }


def document(settings: Settings) -> Object:
    """The description as a JSON-like object."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    audio = {
        "multipart/form-data": {"schema": _object({"file": {"type": "string", "format": "binary"}})},
        **{f"audio/{kind}": binary for kind in ("wav", "flac", "ogg", "mpeg")},
        "application/octet-stream": binary,
    }
    name = [{"name": "name", "in": "path", "required": True, "schema": {"const": "kws"}}]
    threshold = {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "description": "Instead of the model's own"}
    query = [{"name": "threshold", "in": "query", "schema": threshold}]
    description: Object = {
        "openapi": "3.1.0",
        "info": {
            "title": "Keyword classifier",
            "version": "1",
            "description": f"Audio of at most {settings.max_seconds:g} s and {settings.max_upload_bytes} bytes: WAV, "
            "FLAC, Ogg (Vorbis, Opus) or MP3, recognised by content. Errors are RFC 9457 problem documents.",
        },
        "paths": {
            "/predict": _post("The keyword in one recording", audio, "Prediction", 400, 415, 422),
            "/detect": _post(
                "Every keyword in a longer recording", audio, "Detections", 400, 415, 422, parameters=query
            ),
            "/livez": _get("The process lives"),
            "/healthz": _get("The process lives"),
            "/readyz": _get("The model has classified the service's own samples correctly", ready=True),
            "/metrics": _get("Prometheus metrics", "text/plain"),
            "/model-card": _get("What the model says of itself", ready=True),
            "/v2": _get("Open Inference Protocol: the server"),
            "/v2/health/live": _get("Open Inference Protocol: live"),
            "/v2/health/ready": _get("Open Inference Protocol: ready", ready=True),
            "/v2/models/{name}": _get("Open Inference Protocol: the model", ready=True, parameters=name),
            "/v2/models/{name}/infer": _post(
                "Open Inference Protocol: probabilities of a batch of windows",
                _ref("InferRequest"),
                "InferResponse",
                400,
                404,
                422,
                parameters=name,
            ),
        },
        "components": {"schemas": SCHEMAS},
    }
    _gate(description, settings)
    return description


def _gate(description: Object, settings: Settings) -> None:
    """Put in what `service.gate` asks and answers, where it is in use."""
    keys = bool(settings.api_keys or settings.api_keys_file)
    refusals = {"401": _PROBLEM} if keys else {}
    if settings.rate_limit:
        refusals["429"] = _PROBLEM
    for path, methods in description["paths"].items():
        for operation in methods.values():
            if is_health(path):
                operation["security"] = []
            else:
                operation["responses"] |= refusals
    if keys:
        description["security"] = [{"bearer": []}, {"key": []}]
        description["components"] = description["components"] | {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
        }
