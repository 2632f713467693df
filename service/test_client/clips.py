"""What the test client sends, and what it measures."""

import math
import statistics
from collections import Counter
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from service.test_client.client import UPLOADS, Client, ServiceError

Clip = tuple[str, Path]  # the label, the WAV file


def find_clips(folder: Path) -> list[Clip]:
    """The clips `folder/<label>/*.wav`, in the order of their names. Raises ValueError: there are none."""
    clips = []
    for label in sorted(entry for entry in folder.glob("[!.]*") if entry.is_dir()):
        files = sorted(path for path in label.iterdir() if path.suffix.lower() == ".wav" and path.is_file())
        if not files:
            raise ValueError(f"{label} holds no .wav file")
        clips += [(label.name, path) for path in files]
    if not clips:
        raise ValueError(f"{folder} holds no clips: wanted {folder}/<label>/*.wav")
    return clips


def score(client: Client, clips: list[Clip], failed: Callable[[str], None]) -> tuple[dict[str, Any], Any]:
    """Send each clip once, as a form and raw in turn; what is wrong in form is told to `failed` and is incorrect.

    Returns the metrics, and the first correct answer (else the first one, or None).
    """
    labels: dict[str, dict[str, Any]] = {}
    shown: tuple[bool, Any] = (False, None)
    for (label, path), upload in zip(clips, cycle(UPLOADS), strict=False):
        row = labels.setdefault(label, {"clips": 0, "correct": 0, "predicted": Counter()})
        row["clips"] += 1
        try:
            answer, _ = client.predict(path.read_bytes(), f"{label}/{path.name}", upload)
        except ServiceError as error:
            failed(str(error))
            continue
        right = answer["prediction"] == label
        row["predicted"][answer["prediction"]] += 1
        row["correct"] += right
        if shown[1] is None or (right and not shown[0]):
            shown = (right, answer)
    for row in labels.values():
        row |= {"accuracy": row["correct"] / row["clips"], "predicted": dict(row["predicted"].most_common())}
    correct = sum(row["correct"] for row in labels.values())
    return {"clips": len(clips), "correct": correct, "accuracy": correct / len(clips), "labels": labels}, shown[1]


def time_requests(client: Client, clips: list[Clip], requests: int) -> dict[str, Any]:
    """Send requests one after the other, as forms and raw in turn, and time them. Raises ServiceError.

    The first clip goes both ways and must be answered alike.
    """
    both = [client.predict(clips[0][1].read_bytes(), clips[0][1].name, upload)[0] for upload in UPLOADS]
    form, raw = (answer["probabilities"] for answer in both)
    if any(abs(form[label] - raw[label]) > 1e-5 for label in form):
        raise ServiceError(f"{clips[0][1].name}: multipart gives {form}, the raw body {raw}")
    files = [(path.read_bytes(), path.name) for _, path in clips[:requests]]
    spent: dict[str, list[float]] = {upload: [] for upload in UPLOADS}
    inside = []
    for (wav, name), upload in islice(zip(cycle(files), cycle(UPLOADS), strict=False), requests):
        answer, milliseconds = client.predict(wav, name, upload)
        spent[upload].append(milliseconds)
        inside.append(answer["latency_ms"])
    every = [value for values in spent.values() for value in values]
    measured = {"latency_ms": round(statistics.median(every), 3), **_percentiles(every)}
    measured |= {"requests": requests, "server_latency_ms": round(statistics.median(inside), 3)}
    return measured | {"uploads": {upload: _percentiles(values) for upload, values in spent.items() if values}}


def _percentiles(values: list[float]) -> dict[str, float]:
    """By nearest rank: the smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    places = {percent: math.ceil(percent / 100 * len(ordered)) - 1 for percent in (50, 95, 99)}
    return {f"p{percent}_ms": round(ordered[place], 3) for percent, place in places.items()}
