"""Malformed and hostile input: a 4xx or a right answer, and the server stays whole."""

import base64
import gzip
import json
import random
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from .server import Server
from .tones import LABELS, encode, tone, wav

FINE = {200, 400, 413, 415, 422}


def seeds() -> dict[str, bytes]:
    """Valid files, from which hostile ones are made."""
    samples = tone("yes", 0.3, 16_000, 2)
    kinds = [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("WAV", "IMA_ADPCM"),
        ("WAVEX", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_16"),
        ("CAF", "ALAC_16"),
    ]
    return {f"{kind}/{subtype}": encode(samples, 16_000, kind, subtype) for kind, subtype in kinds}


def mutate(rng: random.Random, data: bytes) -> bytes:
    """One to three random defects, mostly in the first 100 bytes, where the headers are."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        position = rng.randrange(min(100, len(changed)) if rng.random() < 0.7 else len(changed))
        kind = rng.randrange(5)
        if kind == 0:
            changed[position] ^= 1 << rng.randrange(8)
        elif kind == 1:
            size = rng.choice([1, 2, 4, 8])
            changed[position : position + size] = rng.choice([b"\0", b"\xff", b"\x7f", b"\x80"]) * size
        elif kind == 2:
            del changed[max(1, position) :]
        elif kind == 3:
            changed[position:position] = rng.randbytes(rng.randint(1, 40))
        else:
            del changed[position : position + rng.randint(1, 40)]
        if not changed:
            return b"\0"
    return bytes(changed)


def resident_kilobytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def post(client: httpx.Client, data: bytes) -> int:
    response = client.post("/predict", content=data)
    assert response.status_code in FINE, response.text
    if response.status_code == 200:
        assert set(response.json()["probabilities"]) == set(LABELS)
    else:
        assert response.headers["Content-Type"] == "application/problem+json"
    return response.status_code


def mutations() -> Iterator[bytes]:
    """Real files with random defects, the same in every run."""
    rng = random.Random(20_261_124)  # noqa: S311
    for data in seeds().values():
        for _ in range(170):
            yield mutate(rng, data)


def truncations() -> Iterator[bytes]:
    """Real files cut within the header, in the middle and before the end."""
    for data in seeds().values():
        for length in (*range(1, 60, 3), len(data) // 2, len(data) - 1):
            yield data[:length]


def lies() -> Iterator[bytes]:
    """WAV headers with each field at its extremes, over an honest second of audio."""
    data = wav("no")
    fields = [(16, "<I"), (20, "<H"), (22, "<H"), (24, "<I"), (28, "<I"), (32, "<H"), (34, "<H"), (40, "<I"), (4, "<I")]
    for offset, code in fields:
        top = (1 << 8 * struct.calcsize(code)) - 1
        for value in (0, 1, 2, 3, 7, 255, 1024, 1025, top // 2, top // 2 + 1, top - 1, top):
            changed = bytearray(data)
            struct.pack_into(code, changed, offset, min(value, top))
            yield bytes(changed)


def impossible_samples() -> Iterator[bytes]:
    """Floats that are not finite or far beyond full scale, at the start, in the middle and at the end."""
    for subtype in ("FLOAT", "DOUBLE"):
        for value in (np.nan, np.inf, -np.inf, 1e30, -32_768.0):
            for position in (0, 8_000, -1):
                samples = tone("up").astype(np.float64)
                samples[position] = value
                yield encode(samples, subtype=subtype)


def polyglots() -> Iterator[bytes]:
    audio = wav("up")
    yield b"\0" + audio
    yield audio + audio
    yield audio + b"<script>alert(1)</script>"
    yield b"GIF89a" + audio
    yield b"PK\x03\x04" + audio
    yield b"#!/bin/sh\n" + audio
    yield audio[:44] + b"fLaC" + audio[44:]
    yield b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + audio
    yield b"OggS" * 1000
    yield b"RIFF" * 1000
    yield b"FORM\0\0\0\x04AIFF" + audio
    yield encode(np.zeros((10, 1024), np.float32), subtype="PCM_U8")


def wrappings() -> Iterator[bytes]:
    """What `service.upload` unwraps, with defects: JSON, data addresses."""
    rng = random.Random(4)  # noqa: S311
    audio = base64.b64encode(wav("up", 0.05))
    for whole in (b'{"audio": "%b"}' % audio, b"data:audio/wav;base64," + audio):
        yield from (whole[:cut] for cut in (1, 5, 9, 30, 100, len(whole) - 3))
        for _ in range(30):
            yield mutate(rng, whole)


CORPUS = (mutations, wrappings, truncations, lies, impossible_samples, polyglots)


def test_the_corpus(server: Server, http: httpx.Client) -> None:
    corpus = dict.fromkeys(data for kind in CORPUS for data in kind())
    assert len(corpus) >= 2_000
    workers = server.workers()
    statuses = Counter(post(http, data) for data in corpus)
    # A corpus that only ever hits one branch would prove little.
    assert all(statuses[status] > 100 for status in (200, 415, 422)), statuses
    assert server.workers() == workers
    assert not any("exception" in line for line in server.log())  # log() refuses lines that are not JSON


def multipart_abuse() -> Iterator[tuple[str, bytes]]:
    audio = wav("down")
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    form = "multipart/form-data; boundary=b"
    yield form, b""
    yield form, b"--b"
    yield form, b"--b--"
    yield form, head
    yield form, head + audio  # never closed
    yield form, head + audio + b"\r\n--b"
    yield form, b"\r\n" * 10_000 + head + audio + b"\r\n--b--\r\n"
    yield form, b"--b\r\n\r\n\r\n--b--\r\n"
    yield form, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"
    yield form, b"--b\r\n" + b"X-Filler: " + b"a" * 100_000 + b"\r\n\r\nx\r\n--b--\r\n"
    yield form, b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a" * 1_000_000 + b"\r\n--b--\r\n"
    yield form, head.replace(b"a.wav", b"\xff\xfe\0") + audio + b"\r\n--b--\r\n"
    yield form, head.replace(b"\r\n", b"\n") + audio + b"\n--b--\n"
    yield "multipart/form-data; boundary=" + "b" * 1_000, head + audio
    yield 'multipart/form-data; boundary=""', head + audio
    yield "multipart/form-data; boundary=\x01", head + audio
    yield "multipart/mixed; boundary=b", head + audio + b"\r\n--b--\r\n"
    yield "multipart/form-data; boundary=b; charset=utf-7", head + audio + b"\r\n--b--\r\n"
    yield ";;;===", audio
    yield "", audio


def test_multipart_abuse(server: Server, http: httpx.Client) -> None:
    for media_type, body in multipart_abuse():
        response = http.post("/predict", content=body, headers={"Content-Type": media_type})
        assert response.status_code in FINE, (media_type, response.text)
    assert not any("exception" in line for line in server.log())


@pytest.mark.parametrize(
    "head",
    [
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: -1",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: +5",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nabc",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\ntoo little",
        b"GET / HTTP/9.9\r\nHost: a",
        b"GET /%ff%fe%00 HTTP/1.1\r\nHost: a",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0" * 1000,
    ],
)
def test_broken_requests(server: Server, http: httpx.Client, head: bytes) -> None:
    answer = server.raw(head + b"\r\n\r\n")
    if answer:
        status = int(answer.split(b" ", 2)[1])
        assert 400 <= status < 500, answer
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"application/problem+json" in head
        document = json.loads(body)
        assert document["status"] == status
        assert "Traceback" not in document["detail"]
    assert http.get("/readyz").status_code == 200


def test_hostile_headers(server: Server, http: httpx.Client) -> None:
    """Encodings and media types with defects, over good and broken bodies."""
    rng = random.Random(3)  # noqa: S311
    zipped = gzip.compress(wav("up"))
    kinds = [
        "audio/L16;rate=16000",
        "audio/l16;rate=",
        "audio/pcm;rate=16000;channels=0",
        "audio/pcm; rate=x",
        "audio/",
    ]
    for turn in range(200):
        headers = {
            "Content-Encoding": rng.choice(["gzip", "deflate", "x-gzip", "br", ""]),
            "Content-Type": rng.choice(kinds),
        }
        answer = http.post("/predict", content=mutate(rng, zipped if turn % 2 else wav("no", 0.05)), headers=headers)
        assert answer.status_code in FINE, (headers, answer.text)
    assert not any("exception" in line for line in server.log())


def test_memory_stays_flat(server: Server, http: httpx.Client) -> None:
    rng = random.Random(1)  # noqa: S311
    files = list(seeds().values())
    corpus = [mutate(rng, rng.choice(files)) for _ in range(200)] + [wav("up", 30.0, 44_100)] * 2

    def send() -> int:
        for data in corpus:
            post(http, data)
        return sum(resident_kilobytes(pid) for pid in server.workers())

    for _ in range(3):  # until the allocators have what they want
        before = send()
    after = send()
    assert after < before * 1.1
