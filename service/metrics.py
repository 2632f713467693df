"""Prometheus metrics, added up over the workers (prometheus_client's multiprocess mode).

Files are named by a worker's place, which its successor takes over with its counts, so that none pile up.
"""

import atexit
import os
from collections.abc import Callable

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

in_flight = 0
# Answers to be counted: endpoint, status, what else to count. In bulk (warm caches) that takes a fifth of the time.
answered: list[tuple[str, int, Callable[[], object] | None]] = []


@atexit.register
def flush() -> None:
    """Count what was answered since the last time; a worker does so 20 ms after its first, and at its end."""
    IN_FLIGHT.set(in_flight)
    while answered:
        endpoint, status, further = answered.pop()
        REQUESTS.labels(endpoint, str(status)).inc()
        if further is not None:
            further()


def count(endpoint: str, duration: float, spent: dict[str, float], result: ClipResult | None = None) -> None:
    """Count one answer: the seconds of the audio and of its stages, the keyword of /predict."""
    for stage, seconds in spent.items():
        LATENCY.labels(endpoint, stage).observe(seconds)
    DURATION.observe(duration)
    if result is not None:
        PREDICTIONS.labels(result.label, str(result.accepted).lower()).inc()
        LEVEL.observe(float(result.levels[result.best]))


def exposition() -> bytes:
    flush()
    registry = REGISTRY
    if FOLDER in os.environ:
        MultiProcessCollector(registry := CollectorRegistry())
    return generate_latest(registry)
