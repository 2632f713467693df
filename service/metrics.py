"""Prometheus metrics, added up over the workers.

gunicorn's configuration names a folder in memory before this module is imported; each worker counts in files there
(prometheus_client's multiprocess mode). Without it, as in a test, they are this process's own.
"""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REQUESTS = Counter("kws_requests", "Answered requests", ["endpoint", "status"])
REJECTED = Counter("kws_rejected", "Requests answered with a problem document, by its name", ["reason"])
IN_FLIGHT = Gauge("kws_in_flight", "Requests being answered", multiprocess_mode="livesum")
LATENCY = Histogram(
    "kws_latency_seconds",
    "Time of one classification: decode, inference (features included), total (receiving the body included)",
    ["stage"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5),
)
PREDICTIONS = Counter("kws_predictions", "Answers of /predict by label", ["label"])
LEVEL = Histogram(
    "kws_input_level_dbfs", "Level of the window that decided, dB of full scale", buckets=(-60, -50, -40, -30, -20, -10)
)
DURATION = Histogram("kws_input_seconds", "Duration of the audio", buckets=(0.25, 0.5, 1, 2, 5, 10, 30, 60))
MODEL = Gauge(
    "kws_model_info", "The model served; always 1", ["version", "revision", "sha256"], multiprocess_mode="max"
)

DECODE, INFERENCE, TOTAL = (LATENCY.labels(stage) for stage in ("decode", "inference", "total"))


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)
