"""The probe's measurements: accuracy over labelled clips, and latency."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

from .client import UPLOADS, Client, ProbeError, Reply
from .clips import Clip


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that `percent` % of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def score_clips(
    client: Client, clips: Sequence[Clip], failed: Callable[[str], None]
) -> tuple[dict[str, Any], Reply | None]:
    """Send each clip once, multipart and raw in turn.

    An answer that is wrong in form is told to `failed` and counts as an incorrect one.

    Returns:
        the metrics, and the first correct reply (or the first one, or None).
    """
    labels: dict[str, dict[str, Any]] = {}
    shown: Reply | None = None
    right = 0
    for index, clip in enumerate(clips):
        row = labels.setdefault(clip.label, {"clips": 0, "correct": 0, "predicted": Counter()})
        row["clips"] += 1
        try:
            reply = client.predict(clip.read(), f"{clip.label}/{clip.path.name}", UPLOADS[index % 2])
        except ProbeError as error:
            failed(str(error))
            continue
        prediction = reply.answer["prediction"]
        row["predicted"][prediction] += 1
        if prediction == clip.label:
            row["correct"] += 1
            right += 1
        if shown is None or (prediction == clip.label and right == 1):
            shown = reply
    for row in labels.values():
        row["accuracy"] = row["correct"] / row["clips"]
        row["predicted"] = dict(row["predicted"].most_common())
    metrics = {"clips": len(clips), "correct": right, "accuracy": right / len(clips), "labels": labels}
    return metrics, shown


def same_answer_both_ways(client: Client, clip: Clip) -> None:
    """A clip must get the same probabilities as a form field and as the raw body.

    Raises:
        ProbeError: it does not.
    """
    wav = clip.read()
    multipart, raw = (client.predict(wav, clip.path.name, upload).answer["probabilities"] for upload in UPLOADS)
    if any(abs(multipart[label] - raw[label]) > 1e-5 for label in multipart):
        raise ProbeError(f"{clip.path.name}: multipart gives {multipart}, the raw body {raw}")


def time_requests(client: Client, clips: Sequence[Clip], requests: int) -> dict[str, Any]:
    """Send `requests` requests one after the other, multipart and raw in turn, and time them.

    The service and the connection are warm: `score_clips` came before.

    Raises:
        ProbeError: one fails.
    """
    wavs = [(clip.read(), clip.path.name) for clip in clips[: min(len(clips), requests)]]
    spent: dict[str, list[float]] = {upload: [] for upload in UPLOADS}
    server: list[float] = []
    for index, (wav, name) in enumerate(islice(cycle(wavs), requests)):
        upload = UPLOADS[index % 2]
        reply = client.predict(wav, name, upload)
        spent[upload].append(reply.milliseconds)
        server.append(float(reply.answer["latency_ms"]))
    every = [value for values in spent.values() for value in values]
    return {
        "requests": requests,
        "latency_ms": round(statistics.median(every), 3),
        "server_latency_ms": round(statistics.median(server), 3),
        **_percentiles(every),
        "uploads": {upload: _percentiles(values) for upload, values in spent.items() if values},
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{percent}_ms": round(percentile(values, percent), 3) for percent in (50, 95, 99)}
