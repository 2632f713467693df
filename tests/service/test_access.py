"""API keys, the rate limit, CORS and path prefixes: for everything but health, whichever layer answers."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from .client import Client
from .server import LOCAL, ROOT, Server
from .tones import wav

KEY, SCRAPER = "correct horse battery staple", "prometheus"
DIGEST, OTHER, METRICS = (hashlib.sha256(key.encode()).hexdigest() for key in (KEY, "another", SCRAPER))
HEALTH = ["/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready", "/v2/models/kws/ready", "/livez/"]
CLOSED = ["/", "/metrics", "/openapi.json", "/model-card", "/v2", "/v2/models/kws", "/nothing", "/static/page.js"]


@pytest.fixture
def guarded(client: Callable[..., Client]) -> Client:
    return client(api_keys=(DIGEST,), api_keys_file=(OTHER,), metrics_keys=(METRICS,))


def test_without_a_key_only_health(guarded: Client) -> None:
    for path in HEALTH:
        assert guarded.get(path).status_code == 200, path
    for method, path in [("POST", "/predict"), ("POST", "/detect"), *(("GET", path) for path in CLOSED)]:
        answer = guarded.request(method, path, content=wav("up") if method == "POST" else None)
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (401, "unauthorized"), path
        assert [value.split()[0] for value in answer.headers.get_list("WWW-Authenticate")] == ["Basic", "Bearer"]
        assert answer.headers["X-Request-ID"] == answer.json()["request_id"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-API-Key": KEY}, 200),
        ({"X-API-Key": "another"}, 200),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": f"bearer  {KEY}"}, 200),
        ({"Authorization": "Basic YW55Ym9keTpjb3JyZWN0IGhvcnNlIGJhdHRlcnkgc3RhcGxl"}, 200),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": DIGEST}, 401),
        ({"X-API-Key": KEY[:-1]}, 401),
        ({"X-API-Key": SCRAPER}, 401),
        ({"X-API-Key": b"\xff\xfe"}, 401),
        ({"Authorization": KEY}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Basic %%%"}, 401),
        ({"Authorization": "Basic /////w=="}, 401),
        ({"Authorization": f"Digest {KEY}"}, 401),
    ],
)
def test_keys(guarded: Client, headers: dict[str, str], status: int) -> None:
    assert guarded.post("/predict", wav("up"), headers=headers).status_code == status
    assert guarded.get("/", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("settings", "key", "status"),
    [
        ({"api_keys": (DIGEST,), "metrics_keys": (METRICS,)}, SCRAPER, 200),
        ({"api_keys": (DIGEST,), "metrics_keys": (METRICS,)}, KEY, 200),
        ({"api_keys": (DIGEST,), "metrics_keys": (METRICS,)}, "", 401),
        ({"api_keys": (DIGEST,)}, SCRAPER, 401),
        ({"api_keys": (DIGEST,), "metrics_open": True}, "", 200),
        ({"metrics_keys": (METRICS,)}, "", 401),
        ({}, "", 200),
    ],
)
def test_who_may_scrape(client: Callable[..., Client], settings: dict[str, object], key: str, status: int) -> None:
    asker = client(**settings)
    assert asker.get("/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == status
    assert asker.get("/v2").status_code == (401 if "api_keys" in settings else 200)


def test_the_description_says_so(guarded: Client) -> None:
    document = guarded.get("/openapi.json", headers={"X-API-Key": KEY}).json()
    assert document["security"] == [{"bearer": []}, {"key": []}]
    assert "401" in document["paths"]["/predict"]["post"]["responses"]
    assert document["paths"]["/readyz"]["get"]["security"] == []


def test_a_rate_limit_for_each_client(client: Callable[..., Client]) -> None:
    asker = client(rate_limit="3/hour", proxies=1)
    first, second = {"X-Forwarded-For": "203.0.113.1"}, {"X-Forwarded-For": "203.0.113.1, 203.0.113.2"}
    statuses = [asker.post("/predict", wav("no"), headers=first).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    answer = asker.get("/metrics", headers=first)
    assert (answer.status_code, answer.json()["type"]) == (429, "problems/rate-limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 3600
    # The last entry is the one that the trusted proxy wrote; without any the peer counts.
    assert [asker.post("/predict", headers=second).status_code for _ in range(4)] == [400, 400, 400, 429]
    assert [asker.get("/v2", peer=peer).status_code for peer in "aaaabb"] == [200, 200, 200, 429, 200, 200]
    assert asker.get("/readyz", headers=first).status_code == 200


def test_a_rate_limit_for_each_key(client: Callable[..., Client]) -> None:
    asker = client(rate_limit="1/hour", api_keys=(DIGEST, OTHER))
    for key in (KEY, "another"):
        assert asker.get("/v2", headers={"X-API-Key": key}).status_code == 200
        assert asker.get("/v2", headers={"X-API-Key": key}).status_code == 429


APP = "https://app.example"
CORS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((APP,), APP, APP),
        ((APP, "http://[::1]:3000"), "http://[::1]:3000", "http://[::1]:3000"),
        (("*",), "https://anybody.example", "https://anybody.example"),
        ((APP,), f"{APP}.evil.example", None),
        ((APP,), "https://appXexample", None),
        ((APP,), "http://app.example", None),
        ((APP,), "null", None),
        ((), APP, None),
    ],
)
def test_cors(client: Callable[..., Client], origins: tuple[str, ...], origin: str, allowed: str | None) -> None:
    """Preflights need no key; every answer, a refusal too, can be read by the pages that are listed."""
    asker = client(api_keys=(DIGEST,), cors_origins=origins)
    for path in ("/predict", "/v2/models/kws/infer"):
        preflight = asker.request("OPTIONS", path, headers={"Origin": origin, **CORS})
        assert preflight.status_code == (204 if allowed else 401)
        assert preflight.headers.get("Access-Control-Allow-Origin") == allowed
        if allowed:
            assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
            assert preflight.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    for key, body, status in ((KEY, wav("up"), 200), (KEY, b"x", 415), ("", wav("up"), 401)):
        answer = asker.post("/predict", body, headers={"Origin": origin, "X-API-Key": key})
        assert (answer.status_code, answer.headers.get("Access-Control-Allow-Origin")) == (status, allowed)
        assert ("X-Request-ID" in answer.headers.get("Access-Control-Expose-Headers", "")) == bool(allowed)
    assert "Access-Control-Allow-Origin" not in asker.get("/livez").headers


@pytest.mark.parametrize("prefix", ["", "/kws", "/a/b"])
def test_every_address_is_right_under_a_prefix(client: Callable[..., Client], prefix: str) -> None:
    """A proxy takes the prefix away before it asks, and need not say so: what the page asks for is relative."""
    asker = client()

    def follow(page: str, address: str) -> str:
        target = urljoin(f"http://proxy{prefix}{page}", address)
        assert target.startswith(f"http://proxy{prefix}/"), (page, address)
        return target.removeprefix(f"http://proxy{prefix}")

    for page in ("/", "/docs", "/docs/"):
        text = asker.get(page).text
        root = re.findall(r'data-root="([^"]+)"', text)[0]
        links = re.findall(r'(?:src|href|action)="([^"]+)"', text)
        for link in (*links, f"{root}readyz", f"{root}samples/yes"):
            if not link.startswith("data:"):
                assert asker.get(follow(page, link)).status_code in (200, 405), (page, link)
    for path in ("/predict", "/predict/", "/v2/models/kws/infer", "/nothing"):
        assert asker.get(follow(path, asker.post(path, b"x").json()["type"])).status_code == 200
    assert follow("/openapi.json", json.loads(asker.get("/openapi.json").text)["servers"][0]["url"]) == "/"
    scripts = "".join(path.read_text() for path in (ROOT / "service" / "static").glob("*.js"))
    assert not re.findall(r"[\"'`]/\w", scripts)


@pytest.mark.parametrize("path", ["/predict/", "/detect/", "/v2/", "/v2/models/kws/", "/healthz/", "/readyz/"])
def test_a_slash_at_the_end_is_the_same_resource(client: Callable[..., Client], path: str) -> None:
    asker = client()
    method = "POST" if path in ("/predict/", "/detect/") else "GET"
    assert asker.request(method, path, content=wav("up")).status_code == 200
    assert asker.get("/v2//health/live").status_code == 404  # and no redirect


def test_a_key_made_by_the_command_opens_the_server(tone_model_path: Path, tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "service.access"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    key = made.stdout.strip()
    digest = re.findall(r"[0-9a-f]{64}", made.stderr)[0]
    assert key not in made.stderr
    with Server(tmp_path, tone_model_path, workers=1, api_keys=digest) as server:
        with httpx.Client(base_url=server.url, **LOCAL) as asker:
            for _ in range(5):  # over one connection: the body of what is refused is read and dropped
                refused = asker.post("/predict", content=wav("up") * 50)
                assert refused.status_code == 401
            answer = asker.post("/predict", content=wav("up"), headers={"Authorization": f"Bearer {key}"})
            assert answer.json()["prediction"] == "up"
        assert server.stop() == 0
        assert key not in server.stderr() + (tmp_path / "stdout").read_text()
