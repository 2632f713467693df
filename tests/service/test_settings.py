"""Settings from the environment."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from service.settings import Settings, SettingsError

from .server import ROOT


def test_defaults() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({"KWS_PORT": "", "KWS_WORKERS": " "}) == Settings()
    assert Settings().host == "127.0.0.1"


def test_values() -> None:
    settings = Settings.from_env(
        {
            "KWS_MODEL": "/models/a.onnx",
            "KWS_MODEL_SHA256": "sha256:" + "AB" * 32,
            "KWS_HOST": "::",
            "KWS_PORT": " 9000 ",
            "KWS_MAX_SECONDS": "2.5",
            "KWS_LOG_LEVEL": "DEBUG",
            "KWS_ACCESS_LOG": "no",
            "KWS_SOMETHING_OF_ANOTHER_PROGRAM": "x",
            "PORT": "1",
        }
    )
    assert settings == Settings(
        model=Path("/models/a.onnx"),
        model_sha256="ab" * 32,
        host="::",
        port=9000,
        max_seconds=2.5,
        log_level="debug",
        access_log=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KWS_PORT", "0"),
        ("KWS_PORT", "65536"),
        ("KWS_PORT", "http"),
        ("KWS_PORT", "80.5"),
        ("KWS_HOST", "127.0.0.1 x"),
        ("KWS_HOST", "http://a"),
        ("KWS_WORKERS", "0"),
        ("KWS_WORKERS", "1e3"),
        ("KWS_THREADS", "-1"),
        ("KWS_MAX_UPLOAD_BYTES", "16MB"),
        ("KWS_MAX_SECONDS", "nan"),
        ("KWS_MAX_SECONDS", "inf"),
        ("KWS_TIMEOUT", "0"),
        ("KWS_GRACEFUL_TIMEOUT", "soon"),
        ("KWS_KEEPALIVE", "-1"),
        ("KWS_LOG_LEVEL", "loud"),
        ("KWS_ACCESS_LOG", "perhaps"),
        ("KWS_MODEL_SHA256", "abc"),
    ],
)
def test_a_wrong_value_names_itself(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}={value!r}: must be ")
    assert "\n" not in message


def test_the_table_in_the_documentation_is_whole() -> None:
    rows = [line for line in (ROOT / "docs" / "service.md").read_text().splitlines() if line.startswith("| `KWS_")]
    named = {name for row in rows for name in re.findall(r"KWS_[A-Z0-9_]+", row.split("|")[1])}
    assert named == {f"KWS_{field.name.upper()}" for field in fields(Settings)}
    told: dict[str, str] = {}
    for row in rows:
        _, names, defaults, _ = row.split("|", 3)
        told |= dict(zip(re.findall(r"KWS_[A-Z0-9_]+", names), re.findall(r"`([^`]*)`", defaults), strict=False))
    assert Settings.from_env(told) == Settings()
