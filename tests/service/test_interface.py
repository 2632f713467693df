"""Metrics, model card, the Open Inference Protocol, and detections in recordings and live, through the real server."""

import hashlib
import json
from contextlib import ExitStack, suppress
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from kws.audio import decode
from kws.detection import detect
from kws.model_file import open_model

from .server import KEY, LOCAL, Make, Serve, Server, check
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
    shape = described["inputs"][0]["shape"]
    assert (card["metadata"], card["window_seconds"], shape) == (METADATA, 1, [-1, CLIP_SAMPLES])
    assert f'kws_model_info{{revision="",sha256="{digest}",version="{VERSION}"}}' in server.metrics()
    assert any(line.get("model_sha256") == digest for line in server.log())


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
        head = json.dumps(tensor(["down"], data=[], parameters={"binary_data_size": len(raw)}) | asked).encode()
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
    for wrong in ("sensitivity=HIGH", "sensitivity=", "sensitivity=low&threshold=0.5"):
        check(asker.post(f"/detect?{wrong}", content=wav("up")), "bad-request", ", ".join(card["sensitivities"]))


def listen(server: Server, path: str = "/listen", key: str = KEY, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}{path}", proxy=None, additional_headers={"X-API-Key": key}, **options)


def ending(connection: ClientConnection, last: Any = None) -> tuple[list[Any], int | None, str]:
    """What is still said after the message `last`, and the close code with its reason."""
    found: list[Any] = []
    with suppress(ConnectionClosed):
        if last is not None:
            connection.send(last)
        while True:
            found.append(json.loads(connection.recv(timeout=60)))
    return found, connection.close_code, connection.close_reason or ""


@pytest.mark.parametrize(("rate", "frame"), [(16_000, 1_600), (16_000, 33), (16_000, 30_000), (48_000, 4_800)])
def test_the_same_rule_live(server: Server, http: httpx.Client, rate: int, frame: int) -> None:
    """What is heard live is what `/detect` finds in the same recording, and comes while the audio goes on."""
    counted = 'kws_detections_total{endpoint="listen",label="yes"}'
    before, found = server.metrics().get(counted, 0), []
    samples = np.pad(spoken("yes", "down", rate=rate) * 32_767, [(0, 2 * rate), (0, 0)]).astype("<i2")
    with listen(server, f"/listen?rate={rate}&threshold=0.6") as stream:
        for part in np.split(samples, [rate * 23 // 10]):
            for start in range(0, len(part), frame):
                stream.send(part[start : start + frame].tobytes())
            found.append(json.loads(stream.recv(timeout=60)))
            assert server.metrics()["kws_streams"] == 1
        assert ending(stream, "end") == ([], 1000, "")
    server.until(lambda: server.metrics()["kws_streams"] == 0)
    assert server.metrics()[counted] == before + 1
    expected = http.post("/detect?threshold=0.6", content=encode(samples, rate)).json()["detections"]
    assert [one["label"] for one in found] == ["yes", "down"]
    for live, one in zip(found, expected, strict=True):
        assert (live["start"], live["end"]) == pytest.approx((one["start"], one["end"]), abs=0.011)
        assert live["confidence"] == pytest.approx(one["confidence"], abs=0.002)


@pytest.mark.parametrize(
    ("path", "options", "message", "code", "says"),
    [
        *(("", {"origin": origin}, "end", 1000, "") for origin in (None, "https://app.example")),
        ("", {"origin": "https://evil.example"}, None, 1008, "another origin"),
        ("", {"key": ""}, None, 1008, "unauthorized"),
        ("/other", {}, None, 1008, "not-found"),
        *((f"?{query}", {}, None, 1008, query.partition("=")[0]) for query in ("rate=0", "rate=1e4", "threshold=2")),
        *(("", {}, message, 1007, "PCM16") for message in ("hello", "", "end ", b"odd")),
        ("", {}, bytes(70_000), 1009, ""),
    ],
)
def test_how_a_stream_ends(guarded: Server, path: str, options: Any, message: Any, code: int, says: str) -> None:
    with listen(guarded, f"/listen{path}", **options) as stream:
        _, closed, reason = ending(stream, message)
    assert closed == code
    assert says in reason


def test_how_many_may_listen_and_how_long_in_silence(guarded: Server) -> None:
    with ExitStack() as stack:
        open_ones = [stack.enter_context(listen(guarded)) for _ in range(3)]
        for stream in open_ones:
            stream.send(bytes(64))
        _, code, reason = ending(stack.enter_context(listen(guarded)))
        assert (code, reason) == (1013, "overloaded: 3 streams are open.")
        for stream in open_ones:
            assert ending(stream)[1:] == (1008, "No audio came for too long.")
    with listen(guarded, origin=f"http://127.0.0.1:{guarded.port}") as again:
        assert ending(again, "end")[1] == 1000


def test_what_comes_faster_than_it_is_heard_waits_at_the_client(server: Server) -> None:
    """40 MB are heard to their end; the service holds little of them at a time, and answers others."""
    server.until(lambda: len(server.messages("model loaded")) >= 2)  # else the second worker's start is counted, too
    before = server.resident()
    with listen(server) as stream:
        for _ in range(600):
            stream.send(bytes(64_000))
        grown = server.resident() - before
        assert server.predict(encode(tone("no"))).json()["prediction"] == "no"
        assert (ending(stream, "end")[1], grown // 16_000_000) == (1000, 0)


def test_hostile_frames_cost_no_worker(server: Server) -> None:
    """First bytes of every kind, with lengths and masks that promise too much or too little."""
    handshake = b"GET /listen HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    handshake += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    tails = [b"", b"\x80", b"\x00", b"\xfe\x00\x01\0\0\0\0a", b"\xff" + b"\xff" * 8 + b"\0\0\0\0", b"\x82\0\0\0\0ab"]
    with server.unharmed():
        for first, tail in product(range(0, 256, 3), tails):
            server.connect(handshake + bytes([first]) + tail).close()
        with listen(server) as stream:
            assert ending(stream, "end")[1] == 1000


def test_at_the_end_of_the_service_streams_are_told(serve: Serve) -> None:
    server = serve()
    with listen(server) as stream:
        stream.send(bytes(64))
        server.process.terminate()
        assert ending(stream)[1:] == (1001, "The service stops.")
        assert server.process.wait(30) == 0
