"""Settings from the environment."""

import re
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path

import httpx
import pytest

from service import settings as module
from service.settings import Settings, SettingsError, processors

from .server import LOCAL, ROOT, Serve
from .tones import wav

DIGEST = "ab" * 32
NUMBERS = {field.name: field.metadata["ends"] for field in fields(Settings) if "ends" in field.metadata}


def test_values(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"\ufeff# one client\n{DIGEST}  # Ada\n")
    values = {
        "model": ("/models/A.onnx", Path("/models/A.onnx")),
        "model_sha256": ("sha256:" + DIGEST.upper(), DIGEST),
        "host": ("[::1]", "::1"),
        "port": (" 9000 ", 9000),
        "max_seconds": ("2.5", 2.5),
        "log_level": ("DEBUG", "debug"),
        "access_log": ("no", False),
        "metrics_open": ("on", True),
        "api_keys": (f"{DIGEST}, sha256:{DIGEST.upper()}", (DIGEST, DIGEST)),
        "api_keys_file": (str(tmp_path / "keys"), (DIGEST,)),
        "rate_limit": ("5 per 10 minutes", "5 per 10 minutes"),
        "cors_origins": ("https://a.example, http://[::1]:3000", ("https://a.example", "http://[::1]:3000")),
        "workers": ("3", 3),
    }
    environ = {f"KWS_{name.upper()}": text for name, (text, _) in values.items()}
    expected = Settings(**{name: value for name, (_, value) in values.items()})  # type: ignore[arg-type]
    assert Settings.from_env(environ | {"PORT": "1", "KWS_OF_ANOTHER_PROGRAM": "x"}) == expected
    assert Settings.from_env({"PORT": "8080"}).port == 8080


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("KWS_PORT", text) for text in ("http", "80.5")),
        ("PORT", "tcp://10.0.0.1:80"),
        *(("KWS_HOST", text) for text in ("127.0.0.1 x", "http://a", "[::1]:80")),
        *(("KWS_WORKERS", text) for text in ("1e3", "two")),
        *(("KWS_MAX_SECONDS", text) for text in ("nan", "inf")),
        ("KWS_LOG_LEVEL", "loud"),
        ("KWS_ACCESS_LOG", "perhaps"),
        ("KWS_MODEL_SHA256", "abc"),
        *(("KWS_CORS_ORIGINS", text) for text in ("app.example", "https://app.example/page")),
        *(("KWS_RATE_LIMIT", text) for text in ("often", "0/minute", "100")),
        *(("KWS_" + name.upper(), str(low - 1)) for name, (low, _) in NUMBERS.items()),
        *(("KWS_" + name.upper(), str(high + 1)) for name, (_, high) in NUMBERS.items()),
        *((f"KWS_{kind}_KEYS", "my-secret-key") for kind in ("API", "METRICS")),
        *(("KWS_API_KEYS", f"{start}my-secret-key") for start in (f"{DIGEST},", "# nobody yet ")),
        *(("KWS_API_KEYS_FILE", path) for path in ("/does/not/exist", __file__)),
    ],
)
def test_a_wrong_value_names_itself_and_no_secret(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=r"^[^\n]*$") as caught:
        Settings.from_env({name: value})
    assert str(caught.value).startswith(name if "_KEYS" in name else f"{name}={value!r}: must be ")
    assert "my-secret-key" not in str(caught.value)


@pytest.mark.parametrize("end", [0, 1])
def test_both_ends_of_each_number_serve(serve: Serve, end: int) -> None:
    """All of them at once: a server that answers, also over the same connection where it keeps one, and stops."""
    ends = {name: both[end] for name, both in NUMBERS.items() if name != "port"} | {"workers": 1 + end}
    server = serve(**ends)
    with httpx.Client(base_url=server.url, **LOCAL) as http:
        for _ in range(3):
            assert http.post("/predict", content=wav("up", 0.03)).json()["prediction"] == "up"
    assert server.stop() == 0
    assert not any(line["level"] in ("warning", "error", "critical") for line in server.log())


@pytest.mark.parametrize(
    ("quota", "count"),
    [("max 100000", 4), ("50000 100000", 1), ("150000 100000", 2), ("900000 1", 4), (None, 4), ("x", 4)],
)
def test_a_quota_counts_as_processors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str | None, count: int
) -> None:
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(module, "Path", lambda path: tmp_path / path.removeprefix("/sys/fs/cgroup/"))
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(4)))
    assert processors() == count


def test_the_table_in_the_documentation_is_whole() -> None:
    told: dict[str, str] = {}
    for row in re.findall(r"^\| `KWS_.*", (ROOT / "docs" / "service.md").read_text(), re.MULTILINE):
        names, defaults = (re.findall("`([^`]*)`", cell) for cell in row.split("|")[1:3])
        told |= dict(zip_longest(names, defaults, fillvalue=""))
    assert set(told) == {f"KWS_{field.name.upper()}" for field in fields(Settings)}
    assert Settings.from_env(told) == Settings.from_env({})
