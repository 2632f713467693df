"""Malformed and hostile input, by defects and by schemathesis: an answer as described, and the server stays whole."""

import base64
import gzip
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import httpx
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from .server import KEY, LOCAL, Server
from .tones import KINDS, LABELS, encode, tone, wav

FINE = {200, 400, 413, 415, 422}
SEEDS = [encode(tone("yes", 0.3, 16_000, 2), 16_000, kind, subtype) for kind, subtype in KINDS]


def mutate(rng: random.Random, data: bytes) -> bytes:
    """One to three random defects, mostly in the first 100 bytes, where the headers are."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(min(100, len(data)) if rng.random() < 0.7 else len(data))
        size, few, flipped = rng.choice([1, 2, 4, 8]), rng.randint(1, 40), bytes([data[at] ^ 1 << rng.randrange(8)])
        extreme = rng.choice([b"\0", b"\xff", b"\x7f", b"\x80"]) * size
        # What is put in, and how many bytes it replaces.
        changes = [(flipped, 1), (extreme, size), (rng.randbytes(few), 0), (b"", few), (b"", len(data))]
        put, gone = rng.choice(changes)
        data = data[:at] + put + data[at + gone :] or b"\0"
    return data


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
    rng, audio = random.Random(20_261_124), base64.b64encode(wav("up", 0.05))  # noqa: S311
    for data in SEEDS:
        yield from (mutate(rng, data) for _ in range(200))
    for whole in (b'{"audio": "%b"}' % audio, b"data:audio/wav;base64," + audio):
        yield from (mutate(rng, whole) for _ in range(30))
        yield from (whole[:cut] for cut in (1, 5, 9, 30, 100, len(whole) - 3))


def polyglots() -> Iterator[bytes]:
    audio = wav("up")
    before = [b"\0", audio, b"GIF89a", b"PK\x03\x04", b"#!/bin/sh\n", b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f"]
    yield from (start + audio for start in (*before, b"FORM\0\0\0\x04AIFF"))
    yield wav("up", 30.0, 44_100)
    yield audio + b"<script>alert(1)</script>"
    yield audio[:44] + b"fLaC" + audio[44:]
    yield from (b"OggS" * 1000, b"RIFF" * 1000, encode(np.zeros((10, 1024), np.float32), subtype="PCM_U8"))


def test_the_corpus(server: Server, http: httpx.Client) -> None:
    """Memory stays flat, too: after the whole of it nothing more is taken."""
    corpus = [*dict.fromkeys([*polyglots(), *mutations()])]
    assert len(corpus) >= 2_000
    with server.unharmed():
        statuses = Counter(post(http, data) for data in corpus)
        before = server.resident()
        for data in corpus[:500]:
            post(http, data)
    # A corpus that only ever hits one branch would prove little.
    assert all(statuses[status] > 100 for status in (200, 415, 422)), statuses
    assert server.resident() < before * 1.1


def forms() -> Iterator[tuple[str, bytes]]:
    """Media types and bodies of forms with defects."""
    audio, end, field = wav("down"), b"\r\n--b--\r\n", b"--b\r\nContent-Disposition: form-data"
    head = field + b'; name="file"; filename="a.wav"\r\n\r\n'
    for body in (
        *(b"", b"--b", b"--b--", head, head + audio, head + audio + b"\r\n--b"),  # never closed
        *(head.replace(b"; name", tail * 50_000 + b"; name") + audio + end for tail in (b"; a=b", b'; a="', b"; a=")),
        b"\r\n" * 10_000 + head + audio + end,
        *(start + b"\r\n\r\nx" + end for start in (b"--b", field, b"--b\r\nX-Filler: " + b"a" * 100_000)),
        field + b'; name="a"\r\n\r\n' + b"a" * 1_000_000 + end,
        head.replace(b"a.wav", b"\xff\xfe\0") + audio + end,
        head.replace(b"\r\n", b"\n") + audio + b"\n--b--\n",
    ):
        yield "multipart/form-data; boundary=b", body
    for kind in ("b" * 1_000, '""', "\x01", "b; charset=utf-7"):
        yield f"multipart/form-data; boundary={kind}", head + audio + end
    yield from ((kind, head + audio + end) for kind in (";;;===", "", "multipart/mixed; boundary=b"))


def test_hostile_forms_and_headers(server: Server, http: httpx.Client) -> None:
    """Forms, encodings and media types with defects, over good and broken bodies."""
    rng, zipped = random.Random(3), gzip.compress(wav("up"))  # noqa: S311
    rates = ["l16;rate=", "pcm;rate=16000;channels=0", "pcm; rate=x", "L16;rate=16000", ""]
    with server.unharmed():
        for media_type, body in forms():
            post(http, body, **{"Content-Type": media_type})
        for turn in range(200):
            encoding = rng.choice(["gzip", "deflate", "x-gzip", "br", ""])
            headers = {"Content-Encoding": encoding, "Content-Type": f"audio/{rng.choice(rates)}"}
            post(http, mutate(rng, zipped if turn % 2 else wav("no", 0.05)), **headers)


# Half of what goes out as audio is audio; else the decoder would be met by noise alone.
AUDIO = st.one_of(st.binary(max_size=200), st.sampled_from([*map(wav, LABELS)]), st.sampled_from(SEEDS))
for media_type in ("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, AUDIO)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("which", ["server", "guarded"])
def test_every_answer_is_as_the_openapi_document_says(
    request: pytest.FixtureRequest, which: str, mode: GenerationMode
) -> None:
    server: Server = request.getfixturevalue(which)
    document = httpx.get(f"{server.url}/openapi.json", headers={"X-API-Key": KEY}, **LOCAL).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=server.url)
    statuses: Counter[int] = Counter()
    with server.unharmed():
        for result in schema.get_all_operations():
            assert isinstance(result, Ok)
            strategy = result.ok().as_strategy(generation_mode=mode)

            @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
            @given(strategy)
            def ask(case: schemathesis.Case) -> None:
                answer = case.call()
                statuses[answer.status_code] += 1
                if answer.status_code in (414, 431):  # the server's own limits, met before any operation
                    assert answer.json()["status"] == answer.status_code
                else:  # what is a string of bytes to the document need not be audio
                    # Too many fields are too large, a status that schemathesis does not expect of them.
                    rejected = [negative_data_rejection] if answer.status_code == 413 else []
                    case.validate_response(answer, excluded_checks=[positive_data_acceptance, *rejected])

            with suppress(Unsatisfiable):  # what takes no input cannot be asked wrongly
                ask()
    if which == "guarded":  # the keys are schemathesis' own, as wrong as it can make them
        assert 401 in statuses, statuses
        assert set(statuses) <= {200, 401}, statuses
    else:
        assert ({200, 415} if mode is GenerationMode.POSITIVE else {400, 415}) <= set(statuses), statuses
