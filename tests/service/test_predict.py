"""`POST /predict` through the real server."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from .server import LOCAL, Make, Server
from .tones import KINDS, LABELS, VERSION, encode, tone, wav


def predict(http: httpx.Client, data: bytes, **headers: str) -> dict[str, Any]:
    response = http.post("/predict", content=data, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    answer: dict[str, Any] = response.json()
    for scores in (answer, *answer.get("windows", [])):
        assert list(scores["probabilities"]) == LABELS
        assert sum(scores["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert scores["probabilities"][scores["prediction"]] == scores["confidence"]
    return answer


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2)])
@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_the_right_word(http: httpx.Client, rate: int, channels: int, container: str, subtype: str) -> None:
    """By content: the file's name and media type, which `test_upload` varies, do not matter."""
    for label in LABELS:
        answer = predict(http, encode(tone(label, 1.0, rate, channels), rate, container, subtype))
        assert (answer["prediction"], answer["model_version"]) == (label, VERSION)
        audio = {"sample_rate": rate, "channels": channels, "format": container}
        assert answer["audio"] == audio | {"seconds": pytest.approx(1, abs=0.11)}
        if subtype == "PCM_16" and rate == 16_000:  # the model's rule by hand: softmax over (8, 0, 0, 0)
            assert answer["confidence"] == pytest.approx(np.exp(8) / (np.exp(8) + 3), abs=2e-6)
            assert "windows" not in answer


@pytest.mark.parametrize(("threshold", "accepted"), [("0.5", True), ("0.9", True), ("0.9999", False)])
def test_accepted_says_whether_the_threshold_is_reached(client: Make, threshold: str, accepted: bool) -> None:
    answer = client({} if threshold == "0.5" else {"threshold": threshold}).post("/predict", wav("up")).json()
    assert (answer["accepted"], answer["threshold"]) == (accepted, float(threshold))


def test_a_minute_in_one_request(http: httpx.Client) -> None:
    answer = predict(http, encode(tone("yes", 60.0), container="FLAC"))
    assert (answer["audio"]["seconds"], len(answer["windows"])) == (60.0, 237)
    assert answer["windows"][-1]["end"] == 60.0


def test_concurrent_requests_get_their_own_answers(server: Server) -> None:
    def work(index: int) -> None:
        with httpx.Client(base_url=server.url, **LOCAL) as client:
            for turn in range(20):
                answer = predict(client, wav(LABELS[index % 4]), **{"X-Request-ID": f"{index}-{turn}"})
                assert (answer["prediction"], answer["request_id"]) == (LABELS[index % 4], f"{index}-{turn}")

    with ThreadPoolExecutor(16) as pool:
        assert len(list(pool.map(work, range(16)))) == 16


def test_the_headers_of_an_answer(http: httpx.Client) -> None:
    response = http.post("/predict", content=wav("up"), headers={"X-Request-ID": "trace:1.a_B-2"})
    assert response.headers["X-Request-ID"] == response.json()["request_id"] == "trace:1.a_B-2"
    timing = dict(re.findall(r"(\w+);dur=([\d.]+)", response.headers["Server-Timing"]))
    assert set(timing) == {"receive", "decode", "inference", "total"}
    assert float(timing["inference"]) == response.json()["latency_ms"]
    for harmful in ("", "a b", 'x"y', "<script>", "a" * 129, "a;b"):
        made = [http.get("/healthz", headers={"X-Request-ID": harmful}).headers["X-Request-ID"] for _ in range(2)]
        assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in made)
        assert made[0] != made[1]
