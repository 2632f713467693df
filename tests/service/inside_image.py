"""Run by the image's own Python, in the image: everything that the service does works with what was left in there.

`python inside_image.py`, in the folder that holds `service`, with KWS_MODEL set. Nothing but what the image has is
imported. Prints one line; a missing piece is a traceback.
"""

import base64
import hashlib
import io
import json
import pkgutil
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

import numpy as np
import service.routes
import soundfile
from werkzeug.test import Client

import service
from service.app import create_app, load_model
from service.settings import Settings

# The probe tests a service from outside: the image has neither it nor what it needs.
SKIPPED = ("service.probe", "service.__main__", "service.gunicorn")
FORMATS = [
    *(("WAV", kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    *(("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")),
    ("MP3", "MPEG_LAYER_III"),
]


def main() -> None:
    for package in (service, service.routes):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(SKIPPED):
                import_module(module.name)
    import gunicorn.app.wsgiapp  # the image's entry point

    assert gunicorn
    key = "a key"
    digest = hashlib.sha256(key.encode()).hexdigest()
    settings = Settings.from_env()
    guarded = Settings(
        model=settings.model, samples=settings.samples, api_keys=(digest,), rate_limit="100000/second", proxies=1
    )
    app = create_app(guarded)
    info, verdict = load_model(app)
    assert verdict.ready, verdict.summary
    client = Client(app)
    headers = {"X-API-Key": key}
    word = next(name.removesuffix(".wav") for name in verdict.checked if name not in " ".join(verdict.wrong))
    samples, rate = soundfile.read(settings.samples / f"{word}.wav", dtype="float32")
    for container, subtype in FORMATS:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
        answer = client.post("/predict", data=buffer.getvalue(), headers=headers)
        assert answer.status_code == 200, (container, subtype, answer.text)
        assert subtype == "PCM_U8" or json.loads(answer.data)["prediction"] == word, (container, subtype, answer.text)
    slow = io.BytesIO()
    soundfile.write(slow, np.repeat(np.tile(samples, 4), 3)[:, None].repeat(2, 1), 3 * rate, format="WAV")
    slow_bytes = slow.getvalue()  # the form closes its file
    slow.seek(0)
    long = client.post("/predict", data={"file": (slow, "a.wav")}, headers=headers)
    assert json.loads(long.data)["windows"], long.text
    assert "detections" in json.loads(client.post("/detect", data=slow_bytes, headers=headers).data)
    tensor = {"name": "waveform", "datatype": "FP32", "shape": [2, info.clip_samples]}
    window = np.zeros(info.clip_samples, np.float32)
    window[: len(samples)] = samples[: info.clip_samples]
    body = json.dumps({"inputs": [tensor | {"data": [window.tolist()] * 2}]})
    inferred = json.loads(client.post("/v2/models/kws/infer", data=body, headers=headers).data)
    assert inferred["outputs"][0]["shape"][0] == 2
    basic = {"Authorization": "Basic " + base64.b64encode(f"x:{key}".encode()).decode()}
    for path in ("/", "/docs", "/static/page.js", "/openapi.json", "/metrics", "/model-card", "/samples", "/readyz"):
        assert client.get(path, headers=basic).status_code == 200, path
    assert client.post("/predict", data=b"no audio", headers=headers).status_code == 415
    assert client.get("/").status_code == 401
    absent = {"torch", "onnx", "google.protobuf", "matplotlib", "pytest"}
    found = {name for name in absent if name.partition(".")[0] in sys.modules}
    assert not found, found
    print(f"inside: {len(FORMATS)} formats, {info.version}, {verdict.summary}")


if __name__ == "__main__":
    main()
