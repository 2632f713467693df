"""Malformed and hostile input: a 4xx or a right answer, and the server stays whole."""

import base64
import gzip
import random
import struct
from collections import Counter
from collections.abc import Iterator

import httpx
import numpy as np

from .server import Server
from .tones import KINDS, LABELS, encode, tone, wav

FINE = {200, 400, 413, 415, 422}


def seeds() -> list[bytes]:
    """Valid files, from which hostile ones are made."""
    return [encode(tone("yes", 0.3, 16_000, 2), 16_000, kind, subtype) for kind, subtype in KINDS]


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


def post(client: httpx.Client, data: bytes, **headers: str) -> int:
    response = client.post("/predict", content=data, headers=headers)
    assert response.status_code in FINE, (headers, response.text)
    if response.status_code == 200:
        assert set(response.json()["probabilities"]) == set(LABELS)
    else:
        assert response.headers["Content-Type"] == "application/problem+json"
    return response.status_code


def mutations() -> Iterator[bytes]:
    """Real files with random defects, the same in every run; and what `service.upload` unwraps.

    Lengths that lie, files cut off and impossible samples are those of `tests/kws/test_audio.py`, too.
    """
    rng = random.Random(20_261_124)  # noqa: S311
    for data in seeds():
        yield from (mutate(rng, data) for _ in range(200))
    audio = base64.b64encode(wav("up", 0.05))
    for whole in (b'{"audio": "%b"}' % audio, b"data:audio/wav;base64," + audio):
        yield from (mutate(rng, whole) for _ in range(30))
        yield from (whole[:cut] for cut in (1, 5, 9, 30, 100, len(whole) - 3))


def lies() -> Iterator[bytes]:
    """WAV headers with each field at its extremes, over an honest second of audio."""
    fields = [(16, "<I"), (20, "<H"), (22, "<H"), (24, "<I"), (28, "<I"), (32, "<H"), (34, "<H"), (40, "<I"), (4, "<I")]
    for offset, code in fields:
        top = (1 << 8 * struct.calcsize(code)) - 1
        for value in (0, 1, 2, 3, 7, 255, 1024, 1025, top // 2, top // 2 + 1, top - 1, top):
            changed = bytearray(wav("no"))
            struct.pack_into(code, changed, offset, min(value, top))
            yield bytes(changed)


def polyglots() -> Iterator[bytes]:
    audio = wav("up")
    before = [b"\0", audio, b"GIF89a", b"PK\x03\x04", b"#!/bin/sh\n", b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f"]
    yield from (start + audio for start in (*before, b"FORM\0\0\0\x04AIFF"))
    yield audio + b"<script>alert(1)</script>"
    yield audio[:44] + b"fLaC" + audio[44:]
    yield from (b"OggS" * 1000, b"RIFF" * 1000, encode(np.zeros((10, 1024), np.float32), subtype="PCM_U8"))


def test_the_corpus(server: Server, http: httpx.Client) -> None:
    corpus = {*mutations(), *lies(), *polyglots()}
    assert len(corpus) >= 2_000
    with server.unharmed():
        statuses = Counter(post(http, data) for data in corpus)
    # A corpus that only ever hits one branch would prove little.
    assert all(statuses[status] > 100 for status in (200, 415, 422)), statuses


def multipart_abuse() -> Iterator[tuple[str, bytes]]:
    audio, end = wav("down"), b"\r\n--b--\r\n"
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    bodies = [
        *(b"", b"--b", b"--b--", head),
        head + audio,  # never closed
        *(head.replace(b"; name", tail * 50_000 + b"; name") + audio + end for tail in (b"; a=b", b'; a="', b"; a=")),
        head + audio + b"\r\n--b",
        b"\r\n" * 10_000 + head + audio + end,
        b"--b\r\n\r\n" + end,
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx" + end,
        b"--b\r\n" + b"X-Filler: " + b"a" * 100_000 + b"\r\n\r\nx" + end,
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a" * 1_000_000 + end,
        head.replace(b"a.wav", b"\xff\xfe\0") + audio + end,
        head.replace(b"\r\n", b"\n") + audio + b"\n--b--\n",
    ]
    yield from (("multipart/form-data; boundary=b", body) for body in bodies)
    kinds = ["multipart/form-data; boundary=" + "b" * 1_000, 'multipart/form-data; boundary=""', ";;;===", ""]
    kinds += ["multipart/form-data; boundary=\x01", "multipart/mixed; boundary=b"]
    yield from ((kind, head + audio + end) for kind in (*kinds, "multipart/form-data; boundary=b; charset=utf-7"))


def test_hostile_forms_and_headers(server: Server, http: httpx.Client) -> None:
    """Forms, encodings and media types with defects, over good and broken bodies."""
    rng, zipped = random.Random(3), gzip.compress(wav("up"))  # noqa: S311
    rates = ["l16;rate=", "pcm;rate=16000;channels=0", "pcm; rate=x", "L16;rate=16000", ""]
    with server.unharmed():
        for media_type, body in multipart_abuse():
            post(http, body, **{"Content-Type": media_type})
        for turn in range(200):
            encoding = rng.choice(["gzip", "deflate", "x-gzip", "br", ""])
            headers = {"Content-Encoding": encoding, "Content-Type": f"audio/{rng.choice(rates)}"}
            post(http, mutate(rng, zipped if turn % 2 else wav("no", 0.05)), **headers)


def test_memory_stays_flat(server: Server, http: httpx.Client) -> None:
    rng, files = random.Random(1), seeds()  # noqa: S311
    corpus = [mutate(rng, rng.choice(files)) for _ in range(200)] + [wav("up", 30.0, 44_100)] * 2

    def send() -> int:
        for data in corpus:
            post(http, data)
        return server.resident()

    for _ in range(3):  # until the allocators have what they want
        before = send()
    assert send() < before * 1.1
