"""What people send: containers that are not read, Content-Encoding, forms, JSON, raw samples, stereo that cancels."""

import base64
import gzip
import io
import json
import zlib

import numpy as np
import pytest
from werkzeug.formparser import MultiPartParser

from service import upload
from service.problems import FORMATS

from .server import Make
from .tones import encode, tone, wav

WAV = wav("yes")
BASE64 = base64.b64encode(WAV).decode()
PCM = (tone("yes")[:, 0] * 32767).astype("<i2")
STEREO = (tone("yes", channels=2) * 32767).astype("<i2")
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
RAW = zlib.compressobj(wbits=-15)
TYPE = "Content-Type"


def part(name: str, data: bytes, rest: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{rest}\r\n\r\n'.encode() + data + b"\r\n"


GZIP, END = {"Content-Encoding": "gzip"}, b"--b--\r\n"
JSON = json.dumps({"audio": BASE64}).encode()
READ: dict[str, tuple[bytes, dict[str, str]]] = {
    "gzip": (gzip.compress(WAV), GZIP),
    "x-gzip": (gzip.compress(WAV), {"Content-Encoding": " X-GZIP "}),
    "members": (gzip.compress(WAV[:99]) + gzip.compress(WAV[99:]) + b"\0" * 9, GZIP),
    "deflate": (zlib.compress(WAV), {"Content-Encoding": "deflate"}),
    "raw deflate": (RAW.compress(WAV) + RAW.flush(), {"Content-Encoding": "deflate"}),
    "identity": (WAV, {"Content-Encoding": "identity"}),
    "form in gzip": (gzip.compress(part("file", WAV, '; filename="a"') + END), GZIP | FORM),
    "part without a file name": (part("file", WAV) + END, FORM),
    "other fields": (part("x", b"1") + part("file", WAV, '; filename="ü.wav"') + b"--b--", FORM),
    "preamble, epilogue": (b"hello\r\n" + part("file", WAV, "; filename=a") + END + b"bye", FORM),
    "JSON": (JSON, {TYPE: "application/json"}),
    "JSON without its media type": (JSON, {}),
    "data in JSON": (JSON.replace(b': "', b': "data:audio/wav;base64,'), {}),
    "URL-safe": (JSON.translate(bytes.maketrans(b"+/", b"-_")).replace(b"=", b""), {}),
    "data address": (f"data:audio/wav;base64,{BASE64}".encode(), {}),
    "L16": (PCM.byteswap().tobytes(), {TYPE: "audio/L16;rate=16000"}),
    "L16 stereo": (STEREO.byteswap().tobytes(), {TYPE: "audio/l16; channels=2; rate=16000"}),
    "PCM": (PCM.tobytes(), {TYPE: "audio/pcm;rate=16000"}),
    "a WAV called L16": (WAV, {TYPE: "audio/L16;rate=8000"}),
    "channels that cancel each other": (encode(tone("yes", channels=2) * [1, -1]), {}),
}


@pytest.mark.parametrize(("body", "headers"), READ.values(), ids=READ)
def test_what_is_read(client: Make, body: bytes, headers: dict[str, str]) -> None:
    answer = client().post("/predict", body, headers=headers)
    assert (answer.status_code, answer.json().get("prediction")) == (200, "yes"), answer.text
    assert [found["label"] for found in client().post("/detect", body, headers=headers).json()["detections"]] == ["yes"]


MP4 = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0"


@pytest.mark.parametrize(
    ("body", "headers", "problem", "says"),
    [
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01" + bytes(400), {TYPE: "audio/wav"}, "not-audio", "WebM"),
        (MP4, {}, "not-audio", "M4A"),
        (MP4.replace(b"M4A ", b"3gp4"), {}, "not-audio", "3GP"),
        (b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(300), {}, "not-audio", "AAC"),
        (b"#!AMR\n" + bytes(300), {}, "not-audio", "AMR"),
        (part("file", MP4, '; filename="a.wav"') + b"--b--\r\n", FORM, "not-audio", "ffmpeg"),
        (gzip.compress(WAV), {}, "not-audio", "gzip"),
        (b"hello", {}, "not-audio", FORMATS),
        (PCM.tobytes(), {}, "not-audio", "audio/L16;rate=16000"),
        (PCM.tobytes(), {TYPE: "audio/L16"}, "bad-request", "rate"),
        (PCM.tobytes(), {TYPE: "audio/L16;rate=0"}, "bad-request", "rate"),
        (PCM.tobytes()[1:], {TYPE: "audio/L16;rate=16000"}, "bad-request", "all channels"),
        (WAV, {"Content-Encoding": "br"}, "content-encoding", "'br'"),
        (WAV, {"Content-Encoding": "gzip, gzip"}, "content-encoding", "gzip, gzip"),
        (WAV, {"Content-Encoding": "gzip"}, "bad-request", "not gzip"),
        (gzip.compress(WAV)[:-9], {"Content-Encoding": "gzip"}, "bad-request", "ended before"),
        (b"{", {}, "not-audio", "JSON"),
        (b'{"a":' * 100_000, {}, "not-audio", "JSON"),
        (b"{}", {}, "nothing-uploaded", "'audio'"),
        (b'{"audio": 1}', {}, "nothing-uploaded", "'audio'"),
        (b'{"audio": ""}', {}, "nothing-uploaded", ""),
        (b'{"audio": "%%%"}', {}, "bad-request", "base64"),
        (part("file", WAV) + part("file", WAV) + b"--b--\r\n", FORM, "several-files", "2 fields"),
        (part("other", WAV) + b"--b--\r\n", FORM, "nothing-uploaded", "no file field"),
        (part("file", WAV), FORM, "nothing-uploaded", "cut off"),
        (part("file", WAV) + b"--b--\r\n", {TYPE: "multipart/form-data"}, "nothing-uploaded", ""),
        (b"".join(part(f"x{i}", b"1") for i in range(50)) + b"--b--\r\n", FORM, "too-large", "parts"),
    ],
)
def test_what_is_not_read_says_what_to_send(
    client: Make, body: bytes, headers: dict[str, str], problem: str, says: str
) -> None:
    answer = client().post("/predict", body, headers=headers)
    assert answer.json()["type"] == f"problems/{problem}", answer.text
    assert says in answer.json()["detail"]
    if problem == "content-encoding":
        assert answer.headers["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_is_refused_after_the_limit(client: Make, layers: int) -> None:
    """100 MB of zeros in 100 kB, once and with its like behind it."""
    bomb = gzip.compress(bytes(100_000_000)) * layers
    answer = client(max_upload_bytes=1_000_000).post("/predict", bomb, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["type"]) == (413, "problems/too-large")
    assert "1000000 bytes, inflated" in answer.json()["detail"]


def test_a_form_is_read_as_werkzeug_reads_it() -> None:
    """Forms of parts in any order, whose data look like delimiters and heads."""
    rng = np.random.default_rng(5)
    scraps = [b"\r\n", b"--b", b"--bc", b"--", b"\r\n\r\n", b"Content-Disposition: form-data; name=file", b"\0", b"x"]
    for _ in range(2_000):
        data = b"".join(rng.choice(np.array(scraps, object), 6))
        if b"\r\n--b" in b"\r\n" + data:
            continue
        parts = [
            *(part("x", b"1"), part("y", b"", '; filename="; name=file"')),
            part("file", data, '; filename="\\"a;.wav"'),
            part("z", b"").replace(b'name="z"', b'filename="; name=file"; name=z'),
        ]
        form = b"".join(rng.permutation(np.array(parts, object))) + b"--b--\r\n"
        (expected,) = MultiPartParser().parse(io.BytesIO(form), b"b", len(form))[1].getlist("file")
        assert upload._form_file(form, FORM[TYPE]) == expected.read()
