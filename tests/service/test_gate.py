"""API keys and the rate limit: everything but health, whichever layer answers."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from flask.testing import FlaskClient

from service.app import create_app, load_model
from service.settings import Settings, SettingsError

from .server import ROOT, Server
from .tones import save_samples, wav

KEY = "correct horse battery staple"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()
HEALTH = ["/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready", "/v2/models/kws/ready"]
OPEN = ["/", "/predict", "/detect", "/metrics", "/openapi.json", "/model-card", "/v2", "/v2/models/kws", "/nothing"]


def client(model: Path, folder: Path, **settings: object) -> FlaskClient:
    app = create_app(Settings(model=model, samples=save_samples(folder), **settings))  # type: ignore[arg-type]
    load_model(app)
    return app.test_client()


@pytest.fixture
def guarded(tone_model_path: Path, tmp_path: Path) -> FlaskClient:
    (tmp_path / "keys").write_text(f"# one client\n{OTHER}  # Ada\n")
    return client(tone_model_path, tmp_path, api_keys=(DIGEST,), api_keys_file=tmp_path / "keys")


def test_without_a_key_only_health(guarded: FlaskClient) -> None:
    for path in HEALTH:
        assert guarded.get(path).status_code == 200, path
    for path in OPEN:
        answer = guarded.post(path, data=wav("up")) if path in ("/predict", "/detect") else guarded.get(path)
        assert answer.status_code == 401, path
        assert answer.get_json()["type"] == "/problems/unauthorized"
        assert "Bearer" in answer.headers.getlist("WWW-Authenticate")[1]
        assert answer.headers["X-Request-ID"] == answer.get_json()["request_id"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY},
        {"X-API-Key": "another"},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {KEY}"},
        {"Authorization": "Basic YW55Ym9keTpjb3JyZWN0IGhvcnNlIGJhdHRlcnkgc3RhcGxl"},
    ],
)
def test_with_a_key(guarded: FlaskClient, headers: dict[str, str]) -> None:
    assert guarded.post("/predict", data=wav("up"), headers=headers).get_json()["prediction"] == "up"
    assert guarded.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": ""},
        {"X-API-Key": DIGEST},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": "\xff\xfe"},
        {"Authorization": KEY},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic /////w=="},
        {"Authorization": f"Digest {KEY}"},
    ],
)
def test_with_a_wrong_key(guarded: FlaskClient, headers: dict[str, str]) -> None:
    assert guarded.post("/predict", data=wav("up"), headers=headers).status_code == 401


def test_the_description_says_so(guarded: FlaskClient) -> None:
    document = guarded.get("/openapi.json", headers={"X-API-Key": KEY}).get_json()
    assert document["security"] == [{"bearer": []}, {"key": []}]
    assert "401" in document["paths"]["/predict"]["post"]["responses"]
    assert document["paths"]["/readyz"]["get"]["security"] == []


def test_a_rate_limit_for_each_client(tone_model_path: Path, tmp_path: Path) -> None:
    asker = client(tone_model_path, tmp_path, rate_limit="3/hour", proxies=1)
    first, second = {"X-Forwarded-For": "203.0.113.1"}, {"X-Forwarded-For": "203.0.113.1, 203.0.113.2"}
    statuses = [asker.post("/predict", data=wav("no"), headers=first).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    answer = asker.get("/metrics", headers=first)
    assert (answer.status_code, answer.get_json()["type"]) == (429, "/problems/rate-limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 3600
    # The last entry is the one that the trusted proxy wrote.
    assert asker.post("/predict", data=wav("no"), headers=second).status_code == 200
    assert asker.get("/readyz", headers=first).status_code == 200


def test_a_rate_limit_for_each_key(tone_model_path: Path, tmp_path: Path) -> None:
    asker = client(tone_model_path, tmp_path, rate_limit="1/hour", api_keys=(DIGEST, OTHER))
    for key in (KEY, "another"):
        assert asker.get("/v2", headers={"X-API-Key": key}).status_code == 200
        assert asker.get("/v2", headers={"X-API-Key": key}).status_code == 429


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KWS_API_KEYS", "my-secret-key"),
        ("KWS_API_KEYS", f"{DIGEST},my-secret-key"),
        ("KWS_API_KEYS_FILE", "/does/not/exist"),
        ("KWS_RATE_LIMIT", "often"),
        ("KWS_RATE_LIMIT_STORAGE", "redis://:my-secret-key@nowhere:1"),
        ("KWS_PROXIES", "-1"),
    ],
)
def test_a_wrong_setting_names_itself_but_no_secret(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({name: value})
    assert str(caught.value).startswith(name)
    assert "my-secret-key" not in str(caught.value)


def test_an_empty_file_of_keys_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# nobody yet\n")
    with pytest.raises(SettingsError, match="KWS_API_KEYS_FILE"):
        Settings.from_env({"KWS_API_KEYS_FILE": str(tmp_path / "keys")})


def test_a_key_made_by_the_command_opens_the_server(tone_model_path: Path, tmp_path: Path) -> None:
    made = subprocess.run([sys.executable, "-m", "service.keys"], cwd=ROOT, capture_output=True, text=True, check=True)
    key = made.stdout.strip()
    digest = re.findall(r"[0-9a-f]{64}", made.stderr)[0]
    assert key not in made.stderr
    with Server(tmp_path, tone_model_path, workers=1, api_keys=digest) as server:
        with httpx.Client(base_url=server.url, trust_env=False) as asker:
            refused = asker.post("/predict", content=wav("up") * 50)  # its body is not read
            assert refused.status_code == 401
            answer = asker.post("/predict", content=wav("up"), headers={"Authorization": f"Bearer {key}"})
            assert answer.json()["prediction"] == "up"
        assert server.stop() == 0
        assert key not in server.stderr() + (tmp_path / "stdout").read_text()
