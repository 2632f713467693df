"""Servers for all tests of a run, servers with other settings, and the application in this process."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.settings import Settings

from .server import DIGEST, LOCAL, Client, Make, Serve, Server
from .tones import METADATA, save_model, save_samples


@pytest.fixture(scope="session")
def tone_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="session")
def server(tone_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running service with two workers, for tests that leave it unharmed."""
    with Server(tmp_path_factory.mktemp("server"), model=tone_model_path, max_upload_bytes=4_000_000) as one:
        yield one


@pytest.fixture(scope="session")
def guarded(tone_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same with a key, a listed origin, one worker and three streams."""
    listed: Any = {"api_keys": DIGEST, "cors_origins": "https://app.example", "streams": 3, "request_timeout": 3}
    with Server(tmp_path_factory.mktemp("guarded"), model=tone_model_path, workers=1, **listed) as one:
        yield one


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, **LOCAL) as client:
        yield client


@pytest.fixture
def serve(tone_model_path: Path, tmp_path: Path) -> Iterator[Serve]:
    """Starts a server for one test, by default of one worker, with the settings given; its logs are in `tmp_path`."""
    defaults: dict[str, Any] = {"model": tone_model_path, "workers": 1}
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Server(tmp_path, **defaults | settings))


@pytest.fixture
def client(tmp_path: Path) -> Make:
    """Makes the application in this process, with further metadata of its model and settings, and a client of it."""

    def make(metadata: dict[str, str] | None = None, **settings: Any) -> Client:
        model = save_model(tmp_path / "model.onnx", METADATA | (metadata or {}))
        samples = save_samples(tmp_path / "samples")
        service = create_app(Settings(model=model, samples=samples, access_log=False, **settings))
        service.state.load(model.read_bytes())
        return Client(service)

    return make
