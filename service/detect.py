"""Every keyword, by the rule of `kws.detection`: `POST /detect` in a recording, `GET /listen` as they are spoken.

What a client sends faster than it is heard waits in the client's own system: gunicorn stops reading.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import soxr
from flask import Blueprint, Response, jsonify, request

from kws.audio import MAX_RATE, MIN_RATE, decode
from kws.detection import Detection, Listener, detect
from kws.model_file import ModelInfo
from service import metrics, upload
from service.access import Access
from service.predict import described
from service.problems import Problem
from service.readiness import State, app_state

_GOING_AWAY, _BAD_DATA, _REFUSED, _TRY_LATER = 1001, 1007, 1008, 1013

blueprint = Blueprint("detect", __name__)


@blueprint.post("/detect")
def keywords() -> Response:
    begin = time.perf_counter()
    info = (model := (state := app_state()).ready()).info
    threshold = read_threshold(request.args, info)
    data = upload.audio_file(request.get_data(), request.content_type or "")
    audio = decode(data, info.sample_rate, state.settings.max_seconds)
    decoded = time.perf_counter()
    found = [as_json(detection, "detect") for detection in detect(model, audio.waveform, threshold)]
    end = time.perf_counter()
    spent = {"decode": decoded - begin, "inference": end - decoded, "total": end - begin}
    (asked := request.environ["kws.request"]).facts = ("detect", audio.seconds, spent, None)
    return jsonify(
        detections=found,
        threshold=threshold,
        latency_ms=round((end - decoded) * 1e3, 3),
        model_version=info.version,
        request_id=asked.id,
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


class Streams:
    """All open streams of this process; `turn` is what the model's other users wait for, too."""

    def __init__(self, state: State, access: Access, turn: Callable[[], Awaitable[None]]) -> None:
        self._state, self._access, self._turn = state, access, turn
        self._open: set[Any] = set()

    async def __call__(self, asked: Any, receive: Any, send: Any) -> None:
        """One stream, for an `asgi.Request`; a refusal is a close code and a reason, which a page can see."""
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        try:
            listener, resampler = self._admit(asked)
            self._open.add(send)
            with metrics.STREAMS.track_inprogress():
                await self._hear(listener, resampler, receive, send)
        except Problem as problem:
            metrics.REJECTED.labels(problem.name).inc()
            later = problem.name in ("overloaded", "not-ready", "rate-limited")
            await _close(send, _TRY_LATER if later else _REFUSED, f"{problem.name}: {problem.detail}")
        finally:
            self._open.discard(send)

    async def stop(self) -> None:
        """Tell every client that the service goes."""
        closing = (_close(send, _GOING_AWAY, "The service stops.") for send in self._open)
        await asyncio.gather(*closing, return_exceptions=True)

    def _admit(self, asked: Any) -> tuple[Listener, soxr.ResampleStream | None]:
        """What hears the stream, and what brings it to the model's rate. Raises Problem."""
        if asked.path != "/listen":
            raise Problem("not-found", "The one WebSocket here is /listen.")
        if not self._access.same_origin(asked.headers):
            raise Problem("unauthorized", "The page that asks is of another origin.")
        self._access.check(asked.path, asked.headers, asked.client)
        if len(self._open) >= self._state.settings.streams:
            raise Problem("overloaded", f"{len(self._open)} streams are open.")
        info = (model := self._state.ready()).info
        query = dict(parse_qsl(asked.scope["query_string"].decode("latin-1")))  # the last of a name counts
        rate = query.get("rate", str(info.sample_rate))
        if not re.fullmatch("[0-9]{4,6}", rate) or not MIN_RATE <= int(rate) <= MAX_RATE:
            raise Problem("bad-request", f"The query's rate is not a whole number from {MIN_RATE} to {MAX_RATE}.")
        listener = Listener(model, replace(info.rule, threshold=read_threshold(query, info)))
        same = int(rate) == info.sample_rate
        return listener, None if same else soxr.ResampleStream(int(rate), info.sample_rate, 1, dtype="float32")

    async def _hear(self, listener: Listener, resampler: Any, receive: Any, send: Any) -> None:
        ends = False
        while not ends:
            try:
                async with asyncio.timeout(self._state.settings.request_timeout):
                    message = await receive()
            except TimeoutError:
                return await _close(send, _REFUSED, "No audio came for too long.")
            if message["type"] != "websocket.receive":
                return None
            data, text = message.get("bytes") or b"", message.get("text")
            ends = text == "end"
            if len(data) % 2 or (text is not None and not ends):
                return await _close(send, _BAD_DATA, "Send PCM16 in binary messages, or the text 'end'.")
            samples = np.frombuffer(data, "<i2") * np.float32(1 / 32_768)
            await self._turn()
            if resampler is not None:
                samples = resampler.resample_chunk(samples, ends)
            for detection in listener.feed(samples, ends):
                await send({"type": "websocket.send", "text": json.dumps(as_json(detection, "listen"))})
        return await _close(send, 1000, "")


async def _close(send: Any, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason[:120]})
