"""A server for all tests of a run, and the application in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.settings import Settings

from .client import Client
from .server import LOCAL, Server
from .tones import save_model, save_samples


@pytest.fixture(scope="session")
def tone_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model file of `tones`."""
    return save_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="session")
def server(tone_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running service with two workers, for tests that leave it unharmed."""
    with Server(tmp_path_factory.mktemp("server"), tone_model_path, max_upload_bytes=4_000_000) as running:
        yield running


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    """A client of `server`."""
    with httpx.Client(base_url=server.url, timeout=20, **LOCAL) as client:
        yield client


@pytest.fixture
def client(tone_model_path: Path, tmp_path: Path) -> Callable[..., Client]:
    """Makes the application in this process, with the settings given, and a client of it."""

    def make(model: Path = tone_model_path, **settings: object) -> Client:
        values = {"samples": save_samples(tmp_path / "samples"), "access_log": False} | settings
        service = create_app(Settings(model=model, **values))  # type: ignore[arg-type]
        service.state.load(model.read_bytes())
        return Client(service)

    return make
