"""A server for all tests of a run, and the application in this process."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from flask.testing import FlaskClient

from service.app import create_app, load_model
from service.settings import Settings

from .server import Server
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
    with httpx.Client(base_url=server.url, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
def app_client(tone_model_path: Path, tmp_path: Path) -> FlaskClient:
    """The application in this process, model loaded."""
    app = create_app(Settings(model=tone_model_path, samples=save_samples(tmp_path)))
    load_model(app)
    return app.test_client()
