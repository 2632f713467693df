"""Ready means: the shipped recordings are classified correctly."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from flask import Flask

from service.app import create_app, load_model
from service.samples import Verdict, sample_files
from service.settings import Settings

from .server import Server
from .tones import LABELS, METADATA, save_model, save_samples, wav


def application(model: Path, samples: Path) -> Flask:
    app = create_app(Settings(model=model, samples=samples))
    load_model(app)
    return app


def test_the_shipped_samples_have_their_licence() -> None:
    files = sample_files(Settings().samples)
    assert [path.stem for path in files] == ["down", "no", "up", "yes"]
    attribution = (Settings().samples / "ATTRIBUTION.txt").read_text()
    assert "CC BY 4.0" in attribution
    assert all(path.name in attribution for path in files)
    assert sum(path.stat().st_size for path in files) < 150_000


def test_ready_says_how_the_samples_went(http: httpx.Client) -> None:
    assert http.get("/readyz").json()["samples"] == "4 of 4 samples classified correctly."


def test_not_ready_before_the_model_is_loaded(tone_model_path: Path, tmp_path: Path) -> None:
    client = create_app(Settings(model=tone_model_path, samples=save_samples(tmp_path))).test_client()
    assert client.get("/readyz").status_code == client.post("/predict", data=wav("up")).status_code == 503
    assert client.get("/livez").status_code == 200


def test_a_model_with_exchanged_labels_is_never_ready(tmp_path: Path) -> None:
    """Right in form; only a recording with a known word can tell."""
    labels = json.dumps(LABELS[1:] + LABELS[:1])
    model = save_model(tmp_path / "model.onnx", METADATA | {"labels": labels})
    client = application(model, save_samples(tmp_path / "samples")).test_client()
    for answer in (client.get("/readyz"), client.post("/predict", data=wav("up"))):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "0 of 4 samples" in answer.text
        assert "up.wav was heard as 'down'" in answer.text


def test_a_model_of_other_words_is_judged_by_form(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model.onnx", METADATA | {"labels": json.dumps(["go", "stop", "left", "right"])})
    answer = application(model, save_samples(tmp_path / "samples")).test_client().get("/readyz")
    assert answer.status_code == 200
    assert "only the form" in answer.text


def test_the_server_stays_up_but_not_ready_and_says_why(tmp_path: Path) -> None:
    """As an operator meets it: the process lives, `/readyz` and the log name the clips."""
    model = save_model(tmp_path / "model.onnx", METADATA | {"labels": json.dumps(LABELS[::-1])})
    with Server(tmp_path, model, wait=False, workers=1) as server:
        server.wait_for("/livez")
        answer = httpx.get(f"{server.url}/readyz", trust_env=False)
        assert answer.status_code == 503
        assert "up.wav was heard as 'no'" in answer.json()["detail"]
        errors = [line["message"] for line in server.log() if line["level"] == "error"]
        assert len(errors) == 1
        assert errors[0].startswith("not ready: 0 of 4 samples")
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("checked", "wrong", "ready"), [(4, 0, 1), (4, 1, 1), (4, 2, 0), (1, 1, 0), (1, 0, 1), (0, 0, 1)]
)
def test_the_rule(checked: int, wrong: int, ready: int) -> None:
    assert Verdict(("x",) * checked, ("y",) * wrong).ready is bool(ready)
