"""The Open Inference Protocol, version 2, over HTTP: JSON tensors, and Triton's binary tensors.

The one model is `kws`: `waveform` FP32[n, samples] in, `probabilities` FP32[n, classes] out.
"""

import json
from typing import Any

import numpy as np
from flask import Blueprint, Response, jsonify, request

from kws.audio import MAX_AMPLITUDE, Waveform
from kws.model_file import INPUT, OUTPUT, ModelInfo
from service.problems import Problem
from service.readiness import app_state, identity

MODEL = "kws"
_LENGTH = "Inference-Header-Content-Length"
_VERSION = "/models/<name>/versions/<version>"

blueprint = Blueprint("v2", __name__, url_prefix="/v2")


@blueprint.get("")
def server() -> Response:
    return jsonify(name="kws", version="2", extensions=["binary_tensor_data"])


@blueprint.get("/health/ready")
@blueprint.get("/models/<name>/ready")
@blueprint.get(f"{_VERSION}/ready")
def ready(name: str = MODEL, version: str = "") -> Response:
    _model(name, version)
    return jsonify(name=MODEL, ready=True)


@blueprint.get("/models/<name>")
@blueprint.get(_VERSION)
def model(name: str, version: str = "") -> Response:
    info = _model(name, version)
    return jsonify(
        name=MODEL,
        versions=[info.version],
        platform="onnxruntime_onnx",
        inputs=[{"name": INPUT, "datatype": "FP32", "shape": [-1, info.clip_samples]}],
        outputs=[{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(info.labels)]}],
        parameters=identity(info) | {"sample_rate": info.sample_rate},
    )


@blueprint.post("/models/<name>/infer")
@blueprint.post(f"{_VERSION}/infer")
def infer(name: str, version: str = "") -> Response:
    info = _model(name, version)
    data, length = request.get_data(), request.headers.get(_LENGTH)
    try:
        end = len(data) if length is None else int(length)
        document = json.loads(data[:end])
        if not isinstance(document, dict) or not 0 <= end <= len(data):
            raise ValueError("no JSON object of that length")
        waveform = _waveform(document, data[end:], info)
        (wanted,) = document.get("outputs") or [{"name": OUTPUT}]
        if wanted["name"] != OUTPUT:
            raise ValueError(f"the one output is {OUTPUT!r}")
        of_all = (document.get("parameters") or {}).get("binary_data_output")
        binary = (wanted.get("parameters") or {}).get("binary_data", of_all) is True
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise Problem("bad-request", f"The body is not a request of the protocol: {str(error)[:200]}.") from None
    if not np.abs(waveform).max() <= MAX_AMPLITUDE:  # NaN compares false
        raise Problem("audio-samples", f"A sample is not a number or beyond ±{MAX_AMPLITUDE:g} times full scale.")
    probabilities = app_state().ready()(waveform)
    output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(probabilities.shape)}
    answer: dict[str, Any] = {"model_name": MODEL, "model_version": info.version, "outputs": [output]}
    if isinstance(document.get("id"), str):
        answer["id"] = document["id"]
    if not binary:
        output["data"] = [round(value, 7) for value in probabilities.ravel().tolist()]
        return jsonify(answer)
    raw = probabilities.astype("<f4").tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps(answer).encode()
    return Response(head + raw, mimetype="application/octet-stream", headers={_LENGTH: str(len(head))})


def _model(name: str, version: str) -> ModelInfo:
    info = app_state().ready().info
    if name != MODEL or version not in ("", info.version):
        raise Problem("not-found", f"The one model here is {MODEL!r}, version {info.version!r}.")
    return info


def _waveform(document: dict[str, Any], binary: bytes, info: ModelInfo) -> Waveform:
    """The one input tensor, float32[n, clip_samples]. Raises ValueError and others where it is none."""
    (tensor,) = document["inputs"]
    if tensor["name"] != INPUT or tensor["datatype"] != "FP32":
        raise ValueError(f"the input is not {INPUT!r} of datatype FP32")
    count, size = tensor["shape"]
    most = max(1, int(app_state().settings.max_seconds * info.sample_rate / info.clip_samples))
    if type(count) is not int or not 1 <= count <= most or size != info.clip_samples:
        raise ValueError(f"the input's shape is not [1 to {most}, {info.clip_samples}]")
    if (length := (tensor.get("parameters") or {}).get("binary_data_size")) is not None:
        if length != len(binary):
            raise ValueError("binary_data_size is not the length of the binary part")
        return np.frombuffer(binary, "<f4").astype(np.float32).reshape(count, size)
    with np.errstate(over="ignore"):  # refused as an impossible sample
        return np.array(tensor["data"], np.float32).reshape(count, size)
