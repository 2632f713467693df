"""What the test client sends, and what it measures."""

import statistics
from collections import Counter
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


def score(client: Client, clips: list[Clip], failures: dict[str, None]) -> tuple[dict[str, Any], Any]:
    """Send each clip once, as a form and raw in turn; what is wrong in form is a failure, and incorrect.

    Returns the metrics, and the first correct answer (else the first one, or None).
    """
    labels: dict[str, dict[str, Any]] = {}
    answers: list[tuple[bool, Any]] = []
    for (label, path), upload in zip(clips, cycle(UPLOADS), strict=False):
        row = labels.setdefault(label, {"clips": 0, "correct": 0, "predicted": Counter()})
        row["clips"] += 1
        try:
            answer, _ = client.predict(path.read_bytes(), f"{label}/{path.name}", upload)
        except ServiceError as error:
            failures[str(error)] = None
            continue
        answers.append((answer["prediction"] == label, answer))
        row["predicted"][answer["prediction"]] += 1
        row["correct"] += answers[-1][0]
    for row in labels.values():
        row |= {"accuracy": row["correct"] / row["clips"], "predicted": dict(row["predicted"].most_common())}
    correct = sum(right for right, _ in answers)
    metrics = {"clips": len(clips), "correct": correct, "accuracy": correct / len(clips), "labels": labels}
    return metrics, max(answers, key=lambda one: one[0], default=(False, None))[1]


def time_requests(client: Client, clips: list[Clip], requests: int) -> dict[str, Any]:
    """Send requests one after the other, as forms and raw in turn, and time them. Raises ServiceError.

    The first clip goes both ways and must be answered alike.
    """
    files = [(path.read_bytes(), path.name) for _, path in clips[:requests]]
    form, raw = (client.predict(*files[0], upload)[0]["probabilities"] for upload in UPLOADS)
    if any(abs(form[label] - raw[label]) > 1e-5 for label in form):
        raise ServiceError(f"{files[0][1]}: multipart gives {form}, the raw body {raw}")
    turns = islice(zip(cycle(files), cycle(UPLOADS), strict=False), requests)
    answered = [client.predict(*file, upload) for file, upload in turns]
    spent = sorted(milliseconds for _, milliseconds in answered)
    ranks = {f"p{share}_ms": round(spent[-(-share * requests // 100) - 1], 3) for share in (50, 95, 99)}
    inside = round(statistics.median(answer["latency_ms"] for answer, _ in answered), 3)
    return {"requests": requests, "latency_ms": ranks["p50_ms"], "server_latency_ms": inside} | ranks
