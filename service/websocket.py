"""`GET /listen` as WebSocket: 16-bit samples in, detections out as they come, by the rule of `kws.detection`.

The text message `end` asks for what the end of the audio completes. What a client sends faster than it is heard waits
in the client's own system: gunicorn stops reading.
"""

import asyncio
import json
import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import soxr

from kws.audio import MAX_RATE, MIN_RATE
from kws.detection import Listener
from service import metrics
from service.access import Access, merged
from service.detect import as_json, read_threshold
from service.problems import Problem
from service.readiness import State

MAX_MESSAGE = 64 * 1024  # bytes
_GOING_AWAY, _BAD_DATA, _REFUSED, _TRY_LATER = 1001, 1007, 1008, 1013


class Streams:
    """All open streams of this process; `turn` is what the model's other users wait for."""

    def __init__(self, state: State, access: Access, turn: asyncio.Semaphore) -> None:
        self._state, self._access, self._turn = state, access, turn
        self._open: set[Any] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One stream, as ASGI hands it over; a refusal is a close code and a reason, which a page can see."""
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        try:
            self._check(scope)
            listener, resampler = self._listener(parse_qs(scope["query_string"].decode("latin-1")))
        except Problem as problem:
            metrics.REJECTED.labels(problem.name).inc()
            later = problem.name in ("overloaded", "not-ready", "rate-limited")
            return await _close(send, _TRY_LATER if later else _REFUSED, f"{problem.name}: {problem.detail}")
        self._open.add(send)
        metrics.STREAMS.inc()
        try:
            await self._hear(listener, resampler, receive, send)
        finally:
            metrics.STREAMS.dec()
            self._open.discard(send)

    async def stop(self) -> None:
        """Tell every client that the service goes."""
        closing = (_close(send, _GOING_AWAY, "The service stops.") for send in self._open)
        await asyncio.gather(*closing, return_exceptions=True)

    def _check(self, scope: Any) -> None:
        headers = merged(scope["headers"])
        if scope["path"].rstrip("/") != "/listen":
            raise Problem("not-found", "The one WebSocket here is /listen.")
        if not self._access.same_origin(headers):
            raise Problem("unauthorized", "The page that asks is of another origin.")
        self._access.check("/listen", headers, self._access.client(headers, scope["client"]))
        if len(self._open) >= self._state.settings.streams:
            raise Problem("overloaded", f"{len(self._open)} streams are open.")

    def _listener(self, query: dict[str, list[str]]) -> tuple[Listener, soxr.ResampleStream | None]:
        info = (model := self._state.ready()).info
        rate = query.get("rate", [str(info.sample_rate)])[-1]
        if not re.fullmatch("[0-9]{4,6}", rate) or not MIN_RATE <= int(rate) <= MAX_RATE:
            raise Problem("bad-request", f"The query's rate is not a whole number from {MIN_RATE} to {MAX_RATE}.")
        threshold = read_threshold({name: values[-1] for name, values in query.items()}, info)
        listener = Listener(model, replace(info.rule, threshold=threshold))
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
            async with self._turn:
                await asyncio.sleep(0)
                if resampler is not None:
                    samples = resampler.resample_chunk(samples, ends)
                found = listener.feed(samples) + (listener.finish() if ends else [])
            for detection in found:
                await send({"type": "websocket.send", "text": json.dumps(as_json(detection, "listen"))})
        return await _close(send, 1000, "")


async def _close(send: Any, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason[:120]})
