"""schemathesis over the OpenAPI document: whatever fits the document, or does not, gets an answer that it describes."""

import hashlib
from collections import Counter
from contextlib import suppress

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from .server import LOCAL, Serve
from .test_hostile import seeds
from .tones import LABELS, wav

KEY = "a key for schemathesis"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()

# Half of what goes out as audio is audio; else the decoder would be met by noise alone.
AUDIO = st.one_of(st.binary(max_size=200), st.sampled_from([*map(wav, LABELS)]), st.sampled_from(seeds()))
for media_type in ("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, AUDIO)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("guard", [{}, {"api_keys": DIGEST}], ids=["open", "guarded"])
def test_every_answer_is_described(serve_for_all: Serve, guard: dict[str, str], mode: GenerationMode) -> None:
    server = serve_for_all(**guard)
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
    if guard:  # the keys are schemathesis' own, as wrong as it can make them
        assert 401 in statuses, statuses
        assert set(statuses) <= {200, 401}, statuses
    else:
        assert ({200, 415} if mode is GenerationMode.POSITIVE else {400, 415}) <= set(statuses), statuses
