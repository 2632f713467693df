"""Metrics, OpenAPI, model card, detections and the Open Inference Protocol, through the real server."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from kws.audio import decode
from kws.detection import detect
from kws.model_file import open_model

from .server import LOCAL, Make, Serve, Server, check
from .tones import CLIP_SAMPLES, LABELS, METADATA, VERSION, encode, spoken, tone, wav

INFER = "/v2/models/kws/infer"


def test_metrics_add_the_workers_up(serve: Serve) -> None:
    server = serve(workers=2)
    for path, body in [("predict", wav("yes"))] * 20 + [("detect", wav("yes"))] * 4 + [("predict", b"no audio")] * 3:
        httpx.post(f"{server.url}/{path}", content=body, **LOCAL)  # new connections, so that both workers answer
    answer, found = httpx.get(f"{server.url}/metrics", **LOCAL), server.metrics()
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    expected = {
        'predictions_total{accepted="true",label="yes"}': 20,
        'detections_total{endpoint="detect",label="yes"}': 4,
        'rejected_total{reason="not-audio"}': 3,
        "input_seconds_sum": 24,
        "input_level_dbfs_sum": pytest.approx(20 * 20 * np.log10(0.5 / np.sqrt(2)), abs=0.1),
        "in_flight": 1,  # this one
    }
    for view, endpoint, count in (("predict.predict", "predict", 20), ("detect.keywords", "detect", 4)):
        expected[f'requests_total{{endpoint="{view}",status="200"}}'] = count
        for stage in ("decode", "inference", "total"):
            expected[f'latency_seconds_count{{endpoint="{endpoint}",stage="{stage}"}}'] = count
    assert {name: found[f"kws_{name}"] for name in expected} == expected
    folders = set(Path("/dev/shm").glob("kws-metrics-*"))  # noqa: S108
    server.stop()
    assert folders - set(Path("/dev/shm").glob("kws-metrics-*"))  # noqa: S108


def test_one_identity_everywhere(server: Server, http: httpx.Client, tone_model_path: Path) -> None:
    digest = hashlib.sha256(tone_model_path.read_bytes()).hexdigest()
    described, card = http.get("/v2/models/kws").json(), http.get("/model-card").json()
    for found in (http.post("/predict", content=wav("up")).json(), card, described["parameters"]):
        assert (found["model_version"], found["model_sha256"]) == (VERSION, digest)
    assert (card["metadata"], card["window_seconds"]) == (METADATA, 1)
    assert described["inputs"][0]["shape"] == [-1, CLIP_SAMPLES]
    assert f'kws_model_info{{revision="",sha256="{digest}",version="{VERSION}"}}' in server.metrics()
    assert any(line.get("model_sha256") == digest for line in server.log())


def test_detections_are_those_of_the_shared_rule(http: httpx.Client, tone_model_path: Path) -> None:
    recording = encode(spoken("yes", "down", "yes"))
    answer = http.post("/detect", content=recording).json()
    expected = [asdict(one) for one in detect(open_model(tone_model_path), decode(recording).waveform)]
    assert [one["label"] for one in expected] == ["yes", "down", "yes"]
    for found, one in zip(answer["detections"], expected, strict=True):
        assert found == {name: value if name == "label" else round(value, 3) for name, value in one.items()}
    assert (answer["threshold"], answer["audio"]["seconds"]) == (0.5, 4.8)
    mixture = tone("up", 3.0) * 0.5 + tone("no", 3.0) * 0.5
    for query, sound in (("", np.zeros(48_000)), ("threshold=0.9", mixture)):
        assert http.post(f"/detect?{query}", content=encode(sound)).json()["detections"] == []


SENSITIVE = {"detection": '{"threshold": 0.7}', "sensitivities": '{"low": 0.9, "medium": 0.7, "high": 0.4}'}


@pytest.mark.parametrize(
    ("metadata", "query", "threshold", "heard"),
    [
        ({"revision": "abc"}, "", 0.75, 1),  # averages over seven windows hold the four together
        ({"detection": '{"refractory_seconds": 3, "smoothing": 1, "threshold": 0.9}'}, "", 0.9, 2),
        *((SENSITIVE, query, at, 1) for query, at in (("", 0.7), ("sensitivity=high", 0.4), ("threshold=1e-3", 0.001))),
        *((SENSITIVE, f"{query}sensitivity=low", at, 4) for query, at in (("", 0.9), ("x=1&", 0.9))),
    ],
)
def test_the_models_own_rule_and_what_the_query_puts_before_it(
    client: Make, metadata: dict[str, str], query: str, threshold: float, heard: int
) -> None:
    asker = client({"threshold": "0.75"} | metadata)
    answer = asker.post(f"/detect?{query}", content=encode(spoken(*["up"] * 4))).json()
    card = asker.get("/model-card").json()
    assert card["model_revision"] == metadata.get("revision", "")
    assert card["sensitivities"] == json.loads(metadata.get("sensitivities", "{}"))
    assert query or card["detection"]["threshold"] == threshold
    assert [found["label"] for found in answer["detections"]] == ["up"] * heard
    assert answer["threshold"] == threshold


@pytest.mark.parametrize("query", ["sensitivity=HIGH", "sensitivity=", "sensitivity=low&threshold=0.5"])
def test_a_sensitivity_that_the_model_does_not_have(client: Make, query: str) -> None:
    answer = client(SENSITIVE).post(f"/detect?{query}", content=wav("up"))
    check(answer, "bad-request", "the model has low, medium, high")


def tensor(words: list[str], **changes: object) -> dict[str, Any]:
    data = np.stack([tone(word)[:, 0] for word in words])
    fields = {"name": "waveform", "datatype": "FP32", "shape": list(data.shape), "data": data.ravel().tolist()}
    return {"id": "7", "inputs": [fields | changes]}


def test_infer_a_batch(http: httpx.Client) -> None:
    check(http.get("/v2"), 200, '"name":"kws"')
    for path in (INFER, f"/v2/models/kws/versions/{VERSION}/infer"):
        answer = http.post(path, json=tensor(["no", "up", "yes"])).json()
        (output,) = answer["outputs"]
        assert (answer["id"], answer["model_name"], answer["model_version"]) == ("7", "kws", VERSION)
        assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [3, 4])
        best = np.array(output["data"]).reshape(3, 4).argmax(axis=1)
        assert [LABELS[index] for index in best] == ["no", "up", "yes"]


def test_infer_with_binary_tensors(http: httpx.Client) -> None:
    """As tritonclient sends and asks, by default and for an output."""
    raw = tone("down")[:, 0].astype("<f4").tobytes()
    by_name = {"name": "probabilities", "parameters": {"binary_data": True}}
    for asked in ({"parameters": {"binary_data_output": True}}, {"outputs": [by_name]}):
        request = tensor(["down"]) | asked
        request["inputs"][0] |= {"data": [], "parameters": {"binary_data_size": len(raw)}}
        head = json.dumps(request).encode()
        answer = http.post(INFER, content=head + raw, headers={"Inference-Header-Content-Length": str(len(head))})
        length = int(answer.headers["Inference-Header-Content-Length"])
        assert json.loads(answer.content[:length])["outputs"][0]["parameters"] == {"binary_data_size": 16}
        assert LABELS[int(np.frombuffer(answer.content[length:], "<f4").argmax())] == "down"


def test_wrong_tensors(http: httpx.Client) -> None:
    """Beside what schemathesis finds in the description's own form."""
    wrong: list[dict[str, Any]] = [{"name": "x"}, {"datatype": "INT8"}, {"parameters": {"binary_data_size": 4}}]
    wrong += [{"shape": shape} for shape in ([1, 5], [2, CLIP_SAMPLES], [True, CLIP_SAMPLES], [10**9, CLIP_SAMPLES])]
    documents = [tensor(["up"], **changes) for changes in (*wrong, {"data": ["a"] * CLIP_SAMPLES})]
    documents.append(tensor(["up"]) | {"outputs": [{"name": "other"}]})
    for body in (b"", b"[]", b"[" * 100_000, *(json.dumps(each).encode() for each in documents)):
        check(http.post(INFER, content=body), "bad-request", "not a request of the protocol")
    for value in ("1e39", "NaN"):
        body = json.dumps(tensor(["up"])).encode().replace(b"0.0,", value.encode() + b",", 1)
        check(http.post(INFER, content=body), "audio-samples")
