"""Run by the image's own Python, in the image: everything that the service does works with what was left in there.

`python inside_image.py`, in the folder that holds `service` and `kws`, with KWS_MODEL set. Nothing but what the image
has is imported. Prints one line; a missing piece is a traceback.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import soundfile

KEY, PORT, ORIGIN = "a key", "8017", "https://a.example"
SETTINGS = {"PORT": PORT, "API_KEYS": hashlib.sha256(KEY.encode()).hexdigest(), "CORS_ORIGINS": ORIGIN}
KINDS = [  # of audio files: container and encoding
    *(("WAV", encoding) for encoding in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "IMA_ADPCM")),
    *((container, "PCM_16") for container in ("WAVEX", "RF64", "FLAC", "AIFF")),
    *(("CAF", "ALAC_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")),
]


def ask(path: str, body: bytes | None = None, key: str = KEY, expected: int = 200) -> bytes:
    """The content of the answer to one request; a POST where there is a body."""
    connection = HTTPConnection("127.0.0.1", int(PORT))
    connection.request("GET" if body is None else "POST", path, body, {"X-API-Key": key, "Origin": ORIGIN})
    content = (answer := connection.getresponse()).read()
    assert answer.status == expected, (path, content)
    return content


def check() -> str:
    """Ask for everything; what was found."""
    samples = sorted(Path(os.environ.get("KWS_SAMPLES", "service/samples")).glob("*.wav"))
    clip = next(path for path in samples if json.loads(ask("/predict", path.read_bytes()))["prediction"] == path.stem)
    audio, rate = soundfile.read(clip, dtype="float32")
    for container, encoding in KINDS:
        soundfile.write(file := io.BytesIO(), audio, rate, format=container, subtype=encoding)
        assert json.loads(ask("/predict", file.getvalue()))["prediction"] == clip.stem, (container, encoding)
    # Resampled, of two channels, and longer than a window.
    soundfile.write(file := io.BytesIO(), np.tile(audio, 4)[:, None].repeat(2, 1), 3 * rate, format="WAV")
    assert json.loads(ask("/predict", file.getvalue()))["windows"]
    assert "detections" in json.loads(ask("/detect", file.getvalue()))
    for path in ("/", "/docs", "/static/page.js", "/openapi.json", "/metrics", "/model-card", "/v2/models/kws"):
        ask(path)
    ask("/", key="another", expected=401)
    return f"{len(KINDS)} formats, {json.loads(ask('/readyz'))['samples']}"


if __name__ == "__main__":
    os.environ.update({f"KWS_{name}": value for name, value in (SETTINGS | {"RATE_LIMIT": "9999/second"}).items()})
    with subprocess.Popen([sys.executable, "-m", "service"], stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(300):
                if not subprocess.run([sys.executable, "-m", "service.healthcheck"]).returncode:
                    break
                time.sleep(0.2)
            print(f"inside: {check()}")
        finally:
            server.terminate()
