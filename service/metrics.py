"""Prometheus metrics, added up over the workers (prometheus_client's multiprocess mode).

Files are named by a worker's place, which its successor takes over with its counts, so that none pile up.
"""

import atexit
import collections
import os
from bisect import bisect_left
from typing import Any

import prometheus_client.values
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from kws.detection import ClipResult

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5)

place: int | str = "main"  # of this process; set before the fork
if FOLDER in os.environ:
    prometheus_client.values.ValueClass = prometheus_client.values.MultiProcessValue(lambda: place)

REQUESTS = Counter("kws_requests", "Answered requests", ["endpoint", "status"])
REJECTED = Counter("kws_rejected", "Requests answered with a problem document, by its name", ["reason"])
IN_FLIGHT = Gauge("kws_in_flight", "Requests whose body is there and whose answer is not", multiprocess_mode="livesum")
LATENCY = Histogram("kws_latency_seconds", "Time of the answers' stages", ["endpoint", "stage"], buckets=_SECONDS)
PREDICTIONS = Counter("kws_predictions", "Answers of /predict by label", ["label", "accepted"])
DETECTIONS = Counter("kws_detections", "Keywords that /detect and /listen found", ["endpoint", "label"])
STREAMS = Gauge("kws_streams", "Open streams of /listen", multiprocess_mode="livesum")
LEVEL = Histogram("kws_input_level_dbfs", "Level of the window that decided", buckets=(-60, -50, -40, -30, -20, -10))
DURATION = Histogram("kws_input_seconds", "Duration of the audio", buckets=(0.25, 0.5, 1, 2, 5, 10, 30, 60))
MODEL = Gauge("kws_model_info", "Always 1", ["version", "revision", "sha256"], multiprocess_mode="livemax")

Facts = tuple[str, float, dict[str, float], ClipResult | None]  # endpoint, seconds of audio and of stages, keyword

in_flight = collections.Counter[bool]()  # uploads, pages
answered: list[tuple[str, int, Facts | None]] = []  # and not counted yet: endpoint, status, what is known of the audio


@atexit.register
def flush() -> None:
    """Count what was answered since the last time, in bulk; a worker does so 20 ms after its first, and at its end."""
    IN_FLIGHT.set(in_flight.total())
    found = collections.defaultdict[Any, list[float]](list)  # by metric and labels
    while answered:
        endpoint, status, facts = answered.pop()
        found[REQUESTS, endpoint, str(status)].append(1)
        if facts is not None:
            endpoint, duration, spent, result = facts
            found[DURATION,].append(duration)
            for stage, seconds in spent.items():
                found[LATENCY, endpoint, stage].append(seconds)
            if result is not None:
                found[PREDICTIONS, result.label, str(result.accepted).lower()].append(1)
                found[LEVEL,].append(float(result.levels[result.best]))
    for (metric, *labels), values in found.items():
        child = metric.labels(*labels) if labels else metric
        if isinstance(metric, Counter):
            child.inc(len(values))
            continue
        child._sum.inc(sum(values))  # as `observe` does for one of them
        for bucket, count in collections.Counter(bisect_left(child._upper_bounds, value) for value in values).items():
            child._buckets[bucket].inc(count)


def exposition() -> bytes:
    flush()
    registry = REGISTRY
    if FOLDER in os.environ:
        MultiProcessCollector(registry := CollectorRegistry())
    return generate_latest(registry)
