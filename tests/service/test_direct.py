"""The quick ways of /predict give what Flask and Werkzeug give."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.formparser import parse_form_data
from werkzeug.test import EnvironBuilder, run_wsgi_app

from service.app import create_app, load_model
from service.direct import Direct
from service.forms import lone_file
from service.settings import Settings

from .tones import save_samples, wav

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
FORM = "multipart/form-data; boundary=b"


@pytest.fixture
def both(tone_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Flask, Flask]:
    """The application as it is, and without its direct way."""
    settings = Settings(model=tone_model_path, samples=save_samples(tmp_path), max_upload_bytes=100_000)
    apps = []
    for way in (Direct, lambda application, _: application):
        monkeypatch.setattr("service.app.Direct", way)
        apps.append(create_app(settings))
        load_model(apps[-1])
    return apps[0], apps[1]


def ask(app: Flask, body: bytes, kind: str, **environ: str) -> tuple[Any, ...]:
    builder = EnvironBuilder("/predict", method="POST", data=body, content_type=kind)
    builder.headers["X-Request-ID"] = "the-id"
    response, status, headers = run_wsgi_app(app, builder.get_environ() | environ)
    fields = dict(headers)
    assert "dur=" in fields.pop("Server-Timing", "dur=")
    content = b"".join(response)
    assert fields["Content-Length"] == str(len(content)) or b"latency_ms" in content
    fields.pop("Content-Length")
    return status, fields, content.partition(b'"latency_ms"')[0], content.partition(b'"model_version"')[2]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (wav("yes"), "audio/wav"),
        (wav("yes", 2.5), "application/x-www-form-urlencoded"),
        (wav("no", 1.0, 44_100, 1), ""),
        (HEAD + wav("up") + b"\r\n--b--\r\n", FORM),
        (HEAD + wav("up") + b"\r\n--b--", 'Multipart/form-data; boundary="b"'),
        (HEAD + b"\r\n--b--\r\n", FORM),
        (HEAD + wav("up"), FORM),
        (b"", "audio/wav"),
        (b"no audio", "audio/wav"),
        (wav("yes")[:-1001], "audio/wav"),
        (wav("yes", 9.0), "audio/wav"),
    ],
)
def test_the_same_answer_with_and_without_flask(both: tuple[Flask, Flask], body: bytes, kind: str) -> None:
    assert ask(both[0], body, kind) == ask(both[1], body, kind)


def test_a_body_shorter_than_said_is_an_error(both: tuple[Flask, Flask]) -> None:
    for app in both:
        assert ask(app, wav("yes"), "audio/wav", CONTENT_LENGTH="50000")[0] == "400 Bad Request"


def test_a_failing_model_is_a_problem_document(both: tuple[Flask, Flask], caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: object) -> None:
        raise FloatingPointError

    for app in both:
        app.extensions["kws"].classifier = broken
        broken.info = type("Info", (), {"sample_rate": 16_000, "clip_samples": 16_000})  # type: ignore[attr-defined]
        status, _, content, _ = ask(app, wav("yes"), "audio/wav")
        assert status.startswith("500 ")
        assert b"/problems/internal-error" in content
    assert "FloatingPointError" in caplog.text


PIECES = [
    b"--b",
    b"--b--",
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n--b",
    b"\r\n--b--\r\n",
    b"a",
    b"\0",
    b" ",
    b"--bb",
    HEAD,
    HEAD[5:],
]


@given(st.lists(st.sampled_from(PIECES), max_size=6), st.sampled_from([FORM, 'multipart/form-data;boundary="b"']))
def test_lone_file_finds_what_werkzeug_finds(pieces: list[bytes], kind: str) -> None:
    data = HEAD + b"".join(pieces)
    found = lone_file(data, kind)
    if found is not None:
        environ = {"wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data)), "CONTENT_TYPE": kind}
        _, form, files = parse_form_data(environ)
        assert not form
        assert [file.read() for file in files.getlist("file")] == [found]
        assert len(files) == 1


@given(st.binary(max_size=200))
def test_lone_file_takes_any_content(content: bytes) -> None:
    if b"--b" not in content:
        assert lone_file(HEAD + content + b"\r\n--b--\r\n", FORM) == content
