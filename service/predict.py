"""`POST /predict`: the keyword in one recording."""

import json
import time
from typing import Any

from kws.audio import Audio, decode
from kws.detection import Probabilities, classify
from service import upload
from service.readiness import State


def answer(state: State, body: bytes, asked: Any) -> tuple[bytes, str]:
    """The JSON and the Server-Timing header for the audio of an `asgi.Request`. Raises Problem, AudioError."""
    info = (model := state.ready()).info
    received = time.perf_counter()
    audio = decode(upload.audio_file(body, asked.kind), info.sample_rate, state.settings.max_seconds)
    decoded = time.perf_counter()
    result = classify(model, audio.waveform)
    found = _scores(info.labels, result.probabilities[result.best])
    found |= {"accepted": result.accepted, "threshold": round(info.threshold, 6)}
    found |= {"latency_ms": round(result.milliseconds, 3), "request_id": asked.id, "audio": described(audio)}
    found |= {"model_version": info.version, "model_sha256": info.sha256}
    if len(result.starts) > 1:
        found["windows"] = []
        for start, level, values in zip(result.starts, result.levels, result.probabilities, strict=True):
            begin, end = (round(at / info.sample_rate, 3) for at in (start, start + info.clip_samples))
            window = {"start": begin, "end": end, "level_dbfs": round(float(level), 1)}
            found["windows"].append(window | _scores(info.labels, values))
    text = json.dumps(found).encode() + b"\n"
    end = time.perf_counter()
    spent = {"decode": decoded - received, "inference": result.milliseconds / 1e3, "total": end - asked.begin}
    asked.facts = ("predict", audio.seconds, spent, result)
    spent = {"receive": received - asked.begin} | spent
    return text, ", ".join(f"{stage};dur={seconds * 1e3:.3f}" for stage, seconds in spent.items())


def described(audio: Audio) -> dict[str, Any]:
    """What an answer says of the upload."""
    facts = {name: getattr(audio, name) for name in ("sample_rate", "channels", "format")}
    return {"seconds": round(audio.seconds, 3)} | facts


def _scores(labels: tuple[str, ...], probabilities: Probabilities) -> dict[str, Any]:
    values = [round(value, 6) for value in probabilities.tolist()]
    confidence = max(values)
    by_label = dict(zip(labels, values, strict=True))
    return {"prediction": labels[values.index(confidence)], "confidence": confidence, "probabilities": by_label}
