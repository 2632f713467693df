"""Malformed and hostile input, by defects and by schemathesis: an answer as described, and the server stays whole."""

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

from .inside_image import KINDS
from .server import KEY, LOCAL, Server
from .test_predict import END, FORM, READ, Headers, part
from .tones import LABELS, encode, tone, wav

AUDIO = wav("up", 0.05)
SEEDS = [encode(tone("yes", 0.3, 16_000, 2), 16_000, kind, subtype) for kind, subtype in KINDS]


def mutate(rng: random.Random, data: bytes) -> bytes:
    """One to three random defects, mostly in the first 100 bytes, where the headers are."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(min(100, len(data)) if rng.random() < 0.7 else len(data))
        size, few, flipped = rng.choice([1, 2, 4, 8]), rng.randint(1, 40), bytes([data[at] ^ 1 << rng.randrange(8)])
        extreme = rng.choice([b"\0", b"\xff", b"\x7f", b"\x80"]) * size
        # What is put in, and how many bytes it replaces.
        put, gone = rng.choice([(flipped, 1), (extreme, size), (rng.randbytes(few), 0), (b"", few), (b"", len(data))])
        data = data[:at] + put + data[at + gone :] or b"\0"
    return data


def corpus() -> Iterator[tuple[bytes, Headers]]:
    """What `service.upload` unwraps and real files, with defects that are the same in every run."""
    rng = random.Random(20_261_124)  # noqa: S311
    for whole, headers in READ.values():
        yield from ((mutate(rng, whole), headers) for _ in range(30))
        yield from ((whole[:cut], headers) for cut in (1, 5, 9, 30, 100, len(whole) - 3))
    for data in SEEDS:
        yield from ((mutate(rng, data), {}) for _ in range(200))
    for encoding in ("gzip", "deflate", "x-gzip", "br", ""):
        for kind in ("l16;rate=", "pcm;rate=16000;channels=0", "pcm; rate=x", "L16;rate=16000", ""):
            headers = {"Content-Encoding": encoding, "Content-Type": f"audio/{kind}"}
            yield from ((mutate(rng, data), headers) for data in (gzip.compress(AUDIO), AUDIO))
    # Several formats at once, and what takes long where it is looked at more than once.
    for before in (b"\0", wav("no"), b"GIF89a", b"PK\x03\x04", b"ID3\x04\0\0" + b"\x7f" * 4, b"FORM\0\0\0\x04AIFF"):
        yield before + AUDIO, {}
    yield from ((data, {}) for data in (wav("up", 30.0, 44_100), AUDIO[:44] + b"fLaC" + AUDIO[44:], b"OggS" * 1000))
    yield encode(np.zeros((10, 1024), np.float32), subtype="PCM_U8"), {}
    for tail in (b"; a=b", b'; a="', b"; a="):
        yield part("file", AUDIO).replace(b"; name", tail * 50_000 + b"; name") + END, FORM
    yield b"--b\r\nContent-Disposition: form-data\r\nX-Filler: " + b"a" * 1_000_000 + END, FORM
    for boundary in ("b" * 1_000, '""', "\x01", "b; charset=utf-7"):
        yield part("file", AUDIO) + END, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def post(client: httpx.Client, body: bytes, headers: Headers) -> int:
    response = client.post("/predict", content=body, headers=headers)
    assert response.status_code in {200, 400, 413, 415, 422}, (headers, response.text)
    kind = "application/json" if response.status_code == 200 else "application/problem+json"
    assert response.headers["Content-Type"] == kind
    assert set(response.json().get("probabilities", LABELS)) == set(LABELS)
    return response.status_code


def test_the_corpus(server: Server, http: httpx.Client) -> None:
    """Memory stays flat, too: after the whole of it a fifth once more takes nothing."""
    every = list(corpus())
    assert len({body for body, _ in every}) >= 2_000
    with server.unharmed():
        statuses = Counter(post(http, *sent) for sent in every)
        before = server.resident()
        for sent in every[::5]:
            post(http, *sent)
    # A corpus that only ever hits one branch would prove little.
    assert all(statuses[status] > 100 for status in (200, 400, 415, 422)), statuses
    assert server.resident() < before * 1.1


# Half of what goes out as audio is audio; else the decoder would be met by noise alone.
BODIES = st.one_of(st.binary(max_size=200), st.sampled_from([*map(wav, LABELS)]), st.sampled_from(SEEDS))
for media_type in ("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, BODIES)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("which", ["server", "guarded"])
def test_every_answer_is_as_openapi_says(request: pytest.FixtureRequest, which: str, mode: GenerationMode) -> None:
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
        assert {401} <= set(statuses) <= {200, 401}, statuses
    else:
        assert ({200, 415} if mode is GenerationMode.POSITIVE else {400, 415}) <= set(statuses), statuses
