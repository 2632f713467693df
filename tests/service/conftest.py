"""Servers for all tests of a run, servers with other settings, and the application in this process."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.settings import Settings

from .server import DIGEST, LOCAL, Client, Make, Serve, Server
from .tones import METADATA, save_model, save_samples


@pytest.fixture(scope="session")
def tone_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model file of `tones`."""
    return save_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="session")
def server(tone_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running service with two workers, for tests that leave it unharmed."""
    with Server(tmp_path_factory.mktemp("server"), tone_model_path, max_upload_bytes=4_000_000) as one:
        yield one


@pytest.fixture(scope="session")
def guarded(tone_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same with a key, a listed origin, one worker and three streams."""
    limits = {"workers": 1, "streams": 3, "request_timeout": 3}
    access = {"api_keys": DIGEST, "cors_origins": "https://app.example"}
    with Server(tmp_path_factory.mktemp("guarded"), tone_model_path, **limits, **access) as one:  # type: ignore[arg-type]
        yield one


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    """A client of `server`."""
    with httpx.Client(base_url=server.url, **LOCAL) as client:
        yield client


@pytest.fixture
def serve(tone_model_path: Path, tmp_path: Path) -> Iterator[Serve]:
    """Starts a server for one test: of the model given, one worker, the settings given; its logs are in `tmp_path`."""
    with ExitStack() as stack:

        def start(model: Path = tone_model_path, **settings: object) -> Server:
            return stack.enter_context(Server(tmp_path, model, **({"workers": 1} | settings)))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def client(tmp_path: Path) -> Make:
    """Makes the application in this process, with further metadata of its model and settings, and a client of it."""

    def make(metadata: dict[str, str] | None = None, **settings: object) -> Client:
        model = save_model(tmp_path / "model.onnx", METADATA | (metadata or {}))
        values = {"samples": save_samples(tmp_path / "samples"), "access_log": False} | settings
        service = create_app(Settings(model=model, **values))  # type: ignore[arg-type]
        service.state.load(model.read_bytes())
        return Client(service)

    return make
