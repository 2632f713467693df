"""A server for all tests of a run, servers with other settings, and the application in this process."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.settings import Settings

from .server import LOCAL, Client, Make, Serve, Server
from .tones import save_model, save_samples


@pytest.fixture(scope="session")
def tone_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model file of `tones`."""
    return save_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="session")
def serve_for_all(tone_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts a server with the settings given, or takes the one that runs with them, for tests that do not harm it."""
    running: dict[str, Server] = {}

    def start(**settings: object) -> Server:
        if (key := repr(settings)) not in running:
            running[key] = Server(tmp_path_factory.mktemp("server"), tone_model_path, **settings)  # type: ignore[arg-type]
        return running[key]

    yield start
    for one in running.values():
        one.stop()


@pytest.fixture
def serve(tone_model_path: Path, tmp_path: Path) -> Iterator[Serve]:
    """Starts a server for one test: of the model given, one worker, the settings given; its logs are in `tmp_path`."""
    running: list[Server] = []

    def start(model: Path = tone_model_path, **settings: object) -> Server:
        running.append(Server(tmp_path, model, **({"workers": 1} | settings)))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.stop()


@pytest.fixture(scope="session")
def server(serve_for_all: Serve) -> Server:
    """A running service with two workers, for tests that leave it unharmed."""
    return serve_for_all(max_upload_bytes=4_000_000)


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    """A client of `server`."""
    with httpx.Client(base_url=server.url, **LOCAL) as client:
        yield client


@pytest.fixture
def client(tone_model_path: Path, tmp_path: Path) -> Make:
    """Makes the application in this process, with the settings given, and a client of it."""

    def make(model: Path = tone_model_path, **settings: object) -> Client:
        values = {"samples": save_samples(tmp_path / "samples"), "access_log": False} | settings
        service = create_app(Settings(model=model, **values))  # type: ignore[arg-type]
        service.state.load(model.read_bytes())
        return Client(service)

    return make
