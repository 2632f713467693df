"""The Open Inference Protocol, version 2, over HTTP: JSON tensors, and Triton's binary tensors.

The one model is `kws`: `waveform` FP32[n, samples] in, `probabilities` FP32[n, classes] out.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from flask import Blueprint, Response, jsonify, request

from ..audio import MAX_AMPLITUDE, Waveform
from ..classifier import ModelInfo
from ..problems import Problem
from ..state import state_of

MODEL = "kws"
_LENGTH = "Inference-Header-Content-Length"

blueprint = Blueprint("v2", __name__, url_prefix="/v2")


@blueprint.get("", strict_slashes=False)
def server() -> Response:
    """The server's own metadata."""
    return jsonify(name="kws", version="2", extensions=["binary_tensor_data"])


@blueprint.get("/health/live")
def live() -> Response:
    """The process answers."""
    return jsonify(live=True)


@blueprint.get("/health/ready")
@blueprint.get("/models/<name>/ready")
@blueprint.get("/models/<name>/versions/<version>/ready")
def ready(name: str = MODEL, version: str = "") -> Response:
    """As `/readyz`."""
    _model(name, version)
    return jsonify(name=MODEL, ready=True)


@blueprint.get("/models/<name>")
@blueprint.get("/models/<name>/versions/<version>")
def model(name: str, version: str = "") -> Response:
    """The model's tensors and identity."""
    info = _model(name, version)
    return jsonify(
        name=MODEL,
        versions=[info.version],
        platform="onnxruntime_onnx",
        inputs=[{"name": "waveform", "datatype": "FP32", "shape": [-1, info.clip_samples]}],
        outputs=[{"name": "probabilities", "datatype": "FP32", "shape": [-1, len(info.labels)]}],
        parameters=info.identity() | {"labels": list(info.labels), "sample_rate": info.sample_rate},
    )


@blueprint.post("/models/<name>/infer")
@blueprint.post("/models/<name>/versions/<version>/infer")
def infer(name: str, version: str = "") -> Response:
    """Probabilities of a batch of windows."""
    info = _model(name, version)
    state = state_of()
    document, binary = _body()
    most = max(1, int(state.settings.max_seconds * info.sample_rate / info.clip_samples))
    probabilities = state.ready()(_waveform(document, binary, info, most))
    output: dict[str, Any] = {"name": "probabilities", "datatype": "FP32", "shape": list(probabilities.shape)}
    answer: dict[str, Any] = {"model_name": MODEL, "model_version": info.version, "outputs": [output]}
    if isinstance(document.get("id"), str):
        answer["id"] = document["id"]
    if not _wants_binary(document):
        output["data"] = [round(value, 7) for value in probabilities.ravel().tolist()]
        return jsonify(answer)
    raw = probabilities.astype("<f4").tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps(answer).encode()
    return Response(head + raw, mimetype="application/octet-stream", headers={_LENGTH: str(len(head))})


def _model(name: str, version: str) -> ModelInfo:
    info = state_of().ready().info
    if name != MODEL or version not in ("", info.version):
        raise Problem("not-found", f"The one model here is {MODEL!r}, version {info.version!r}.")
    return info


def _body() -> tuple[dict[str, Any], bytes]:
    """The request's JSON object and the binary tensors behind it."""
    data = request.get_data(cache=False)
    length = request.headers.get(_LENGTH, str(len(data)))
    if not length.isascii() or not length.isdecimal() or len(length) > 12 or int(length) > len(data):
        raise Problem("bad-request", f"{_LENGTH} is not a length within the body.")
    try:
        document = json.loads(data[: int(length)])
    except (ValueError, RecursionError):
        raise Problem("bad-request", "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise Problem("bad-request", "The body is not a JSON object.")
    return document, data[int(length) :]


def _waveform(document: dict[str, Any], binary: bytes, info: ModelInfo, most: int) -> Waveform:
    """The one input tensor, checked: float32[n, clip_samples]."""
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Problem("bad-request", "inputs is not a list of one tensor.")
    tensor = inputs[0]
    if tensor.get("name") != "waveform" or tensor.get("datatype") != "FP32":
        raise Problem("bad-request", "The input is not 'waveform' of datatype FP32.")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(size) is int for size in shape):
        raise Problem("bad-request", "The input's shape is not two whole numbers.")
    if not 1 <= shape[0] <= most or shape[1] != info.clip_samples:
        raise Problem("bad-request", f"The input's shape is not [1 to {most}, {info.clip_samples}].")
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    try:
        if size is not None:
            if type(size) is not int or size != len(binary):
                raise ValueError("binary_data_size is not the length of the binary part")
            values = np.frombuffer(binary, "<f4").astype(np.float32)
        else:
            with np.errstate(over="ignore"):  # refused below
                values = np.array(tensor.get("data"), np.float32).ravel()
        waveform: Waveform = values.reshape(shape)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Problem("bad-request", f"The input's data do not fit: {str(error)[:200]}.") from None
    if not np.abs(waveform).max() <= MAX_AMPLITUDE:  # NaN compares false
        raise Problem("audio-samples", f"A sample is not a number or beyond ±{MAX_AMPLITUDE:g} times full scale.")
    return waveform


def _wants_binary(document: dict[str, Any]) -> bool:
    """Whether the answer's tensor is asked for as bytes, for this output or for all."""
    outputs = document.get("outputs")
    if outputs is not None:
        names = (
            [output.get("name") for output in outputs if isinstance(output, dict)] if isinstance(outputs, list) else []
        )
        if names != ["probabilities"]:
            raise Problem("bad-request", "outputs is not a list of the one output 'probabilities'.")
        parameters = outputs[0].get("parameters")
        if isinstance(parameters, dict) and "binary_data" in parameters:
            return parameters["binary_data"] is True
    parameters = document.get("parameters")
    return isinstance(parameters, dict) and parameters.get("binary_data_output") is True
