"""Settings from the environment."""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from service import settings as module
from service.settings import Settings, SettingsError, processors

from .client import Client
from .server import ROOT, Server
from .tones import wav

DIGEST = "ab" * 32
NUMBERS = {field.name: field.metadata["ends"] for field in fields(Settings) if "ends" in field.metadata}


def test_values() -> None:
    values = {
        "KWS_MODEL": "/models/A.onnx",
        "KWS_MODEL_SHA256": "sha256:" + "AB" * 32,
        "KWS_HOST": "[::1]",
        "KWS_PORT": " 9000 ",
        "KWS_MAX_SECONDS": "2.5",
        "KWS_LOG_LEVEL": "DEBUG",
        "KWS_ACCESS_LOG": "no",
        "KWS_METRICS_OPEN": "on",
        "KWS_API_KEYS": f"{DIGEST}, sha256:{DIGEST.upper()}",
        "KWS_CORS_ORIGINS": "https://a.example, http://[::1]:3000",
        "KWS_SOMETHING_OF_ANOTHER_PROGRAM": "x",
        "KWS_WORKERS": "3",
        "PORT": "1",
    }
    assert Settings.from_env(values) == Settings(
        model=Path("/models/A.onnx"),
        model_sha256=DIGEST,
        host="::1",
        port=9000,
        max_seconds=2.5,
        log_level="debug",
        access_log=False,
        metrics_open=True,
        api_keys=(DIGEST, DIGEST),
        cors_origins=("https://a.example", "http://[::1]:3000"),
        workers=3,
    )
    assert Settings.from_env({"PORT": "8080"}).port == 8080


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KWS_PORT", "http"),
        ("KWS_PORT", "80.5"),
        ("PORT", "tcp://10.0.0.1:80"),
        ("KWS_HOST", "127.0.0.1 x"),
        ("KWS_HOST", "http://a"),
        ("KWS_HOST", "[::1]:80"),
        ("KWS_WORKERS", "1e3"),
        ("KWS_MAX_UPLOAD_BYTES", "16MB"),
        ("KWS_MAX_SECONDS", "nan"),
        ("KWS_MAX_SECONDS", "inf"),
        ("KWS_GRACEFUL_TIMEOUT", "soon"),
        ("KWS_LOG_LEVEL", "loud"),
        ("KWS_ACCESS_LOG", "perhaps"),
        ("KWS_MODEL_SHA256", "abc"),
        ("KWS_CORS_ORIGINS", "app.example"),
        ("KWS_CORS_ORIGINS", "https://app.example/page"),
        *(("KWS_" + name.upper(), str(low - 1)) for name, (low, _) in NUMBERS.items()),
        *(("KWS_" + name.upper(), str(high + 1)) for name, (_, high) in NUMBERS.items()),
    ],
)
def test_a_wrong_value_names_itself(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}={value!r}: must be ")
    assert "\n" not in message


@pytest.mark.parametrize("value", ["my-secret-key", f"{DIGEST},my-secret-key", "# nobody yet"])
@pytest.mark.parametrize("name", ["KWS_API_KEYS", "KWS_METRICS_KEYS"])
def test_a_wrong_secret_is_not_repeated(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})
    assert str(caught.value).startswith(name)
    assert "my-secret-key" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"api_keys_file": Path("/does/not/exist")}, "KWS_API_KEYS_FILE"),
        ({"api_keys_file": Path(__file__)}, "KWS_API_KEYS_FILE"),
        ({"rate_limit": "often"}, "KWS_RATE_LIMIT"),
        ({"rate_limit": "1/hour", "rate_limit_storage": "redis://:my-secret-key@nowhere:1"}, "KWS_RATE_LIMIT_STORAGE"),
    ],
)
def test_what_cannot_be_used_names_itself(
    client: Callable[..., Client], settings: dict[str, object], name: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        client(**settings)
    assert str(caught.value).startswith(name)
    assert "my-secret-key" not in str(caught.value)


@pytest.mark.parametrize("end", [0, 1])
def test_both_ends_of_each_number_serve(tone_model_path: Path, tmp_path: Path, end: int) -> None:
    """All of them at once: a server that answers, also over the same connection where it keeps one, and stops."""
    ends = {name: both[end] for name, both in NUMBERS.items() if name != "port"} | {"workers": 1 + end}
    with Server(tmp_path, tone_model_path, **ends) as server:
        answers = server.ask(*[("POST", "/predict", wav("up", 0.03))] * 3)
        assert [answer["prediction"] for answer in answers] == ["up", "up", "up"]
        assert server.stop() == 0
        assert not any(line["level"] in ("warning", "error", "critical") for line in server.log())


@pytest.mark.parametrize(
    ("quota", "count"),
    [("max 100000", 4), ("50000 100000", 1), ("150000 100000", 2), ("900000 1", 4), (None, 4), ("x", 4)],
)
def test_a_quota_counts_as_processors(monkeypatch: pytest.MonkeyPatch, quota: str | None, count: int) -> None:
    class Group:
        def __init__(self, path: str) -> None:
            assert path == "/sys/fs/cgroup/cpu.max"

        def read_text(self) -> str:
            if quota is None:
                raise FileNotFoundError
            return quota + "\n"

    monkeypatch.setattr(module, "Path", Group)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(4)))
    assert processors() == count


def test_the_table_in_the_documentation_is_whole() -> None:
    rows = [line for line in (ROOT / "docs" / "service.md").read_text().splitlines() if line.startswith("| `KWS_")]
    named = {name for row in rows for name in re.findall(r"KWS_[A-Z0-9_]+", row.split("|")[1])}
    assert named == {f"KWS_{field.name.upper()}" for field in fields(Settings)}
    told: dict[str, str] = {}
    for row in rows:
        _, names, defaults, _ = row.split("|", 3)
        told |= dict(zip(re.findall(r"KWS_[A-Z0-9_]+", names), re.findall(r"`([^`]*)`", defaults), strict=False))
    assert Settings.from_env(told) == Settings.from_env({})
