"""Run by the image's own Python, in the image: everything that the service does works with what was left in there.

`python inside_image.py`, in the folder that holds `service` and `kws`, with KWS_MODEL set. Nothing but what the image
has is imported. Prints one line; a missing piece is a traceback.
"""

import asyncio
import dataclasses
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))

import gunicorn.app.wsgiapp  # noqa: F401  # the image's entry point
import numpy as np
import soundfile

import service.connections  # noqa: F401
from service.app import create_app
from service.settings import Settings

KEY = "a key"
FORMATS = [
    *(("WAV", kind) for kind in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    *(("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")),
    *(("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("CAF", "PCM_16")),
]


def ask(app: Any, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and content of the answer to one request; a POST where there is a body."""
    sent: list[Any] = []
    named = {"x-api-key": KEY, "content-length": str(len(body or b""))} | headers
    scope: dict[str, Any] = {"type": "http", "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"method": "GET" if body is None else "POST", "scheme": "http", "server": ("a", 1), "client": ("b", 2)}
    scope |= {"headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body or b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def main() -> None:
    settings = Settings.from_env()
    guard = {"api_keys": (hashlib.sha256(KEY.encode()).hexdigest(),), "rate_limit": "100000/second"}
    app = create_app(dataclasses.replace(settings, **guard, cors_origins=("https://a.example",), access_log=False))  # type: ignore[arg-type]
    app.state.load(settings.model.read_bytes())
    info, state = app.state.ready().info, app.state
    word = next(path.stem for path in settings.samples.glob("*.wav") if path.name not in " ".join(state.wrong))
    samples, rate = soundfile.read(settings.samples / f"{word}.wav", dtype="float32")
    for container, subtype in FORMATS:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
        status, content = ask(app, "/predict", buffer.getvalue())
        assert (status, json.loads(content).get("prediction")) == (200, word), (container, subtype, content)
    long = io.BytesIO()
    soundfile.write(long, np.repeat(np.tile(samples, 4), 3)[:, None].repeat(2, 1), 3 * rate, format="WAV")
    assert json.loads(ask(app, "/predict", long.getvalue())[1])["windows"]
    assert "detections" in json.loads(ask(app, "/detect", long.getvalue())[1])
    tensor = {"name": "waveform", "datatype": "FP32", "shape": [1, info.clip_samples]}
    request = json.dumps({"inputs": [tensor | {"data": [0.0] * info.clip_samples}]}).encode()
    assert json.loads(ask(app, "/v2/models/kws/infer", request)[1])["outputs"][0]["shape"][0] == 1
    for path in ("/", "/docs", "/static/page.js", "/openapi.json", "/metrics", "/model-card", "/readyz"):
        assert ask(app, path, origin="https://a.example")[0] == 200, path
    assert ask(app, "/", x_api_key="another")[0] == 401
    found = {"torch", "onnx", "google.protobuf", "matplotlib", "pytest", "model"} & set(sys.modules)
    assert not found, found
    print(f"inside: {len(FORMATS)} formats, {info.version}, {state.summary}")


if __name__ == "__main__":
    main()
