"""schemathesis over the OpenAPI document: whatever fits the document, or does not, gets an answer that it describes."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from .server import LOCAL, Server
from .test_hostile import seeds
from .tones import LABELS, wav

KEY = "a key for schemathesis"

# Half of what goes out as audio is audio; else the decoder would be met by noise alone.
AUDIO = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([wav(label) for label in LABELS]),
    st.sampled_from([*seeds().values()]),
)
for media_type in ("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, AUDIO)


@pytest.fixture(scope="module", params=["open", "guarded"])
def service(
    request: pytest.FixtureRequest, tone_model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    guard: dict[str, Any] = {} if request.param == "open" else {"api_keys": hashlib.sha256(KEY.encode()).hexdigest()}
    with Server(tmp_path_factory.mktemp("schema"), tone_model_path, **guard) as server:
        yield server


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_described(service: Server, mode: GenerationMode) -> None:
    document = httpx.get(f"{service.url}/openapi.json", headers={"X-API-Key": KEY}, **LOCAL).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=service.url)
    workers = service.workers()
    statuses: Counter[int] = Counter()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=mode))
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
    assert service.workers() == workers
    if "security" in document:  # the keys are schemathesis' own, as wrong as it can make them
        assert 401 in statuses, statuses
        assert set(statuses) <= {200, 401}, statuses
    else:
        assert ({200, 415} if mode is GenerationMode.POSITIVE else {400, 415}) <= set(statuses), statuses


def test_nothing_was_logged_as_an_exception(service: Server) -> None:
    assert not any("exception" in line for line in service.log())
