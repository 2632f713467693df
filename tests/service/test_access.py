"""API keys, the rate limit, CORS and path prefixes: for everything but health, whichever layer answers."""

import hashlib
import re
import subprocess
from typing import Any
from urllib.parse import urljoin

import pytest

from service.settings import read_digests

from .server import DIGEST, KEY, ROOT, Make, Server, check
from .tones import wav

SCRAPER = "prometheus"
OTHER, METRICS = (hashlib.sha256(key.encode()).hexdigest() for key in ("another", SCRAPER))
HEALTH = ["/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready", "/v2/models/kws/ready", "/livez/"]
PAGES = ["/", "/metrics", "/openapi.json", "/model-card", "/v2", "/v2/models/kws/", "/static/page.js", "/nothing"]
BASIC = "Basic YW55Ym9keTpjb3JyZWN0IGhvcnNlIGJhdHRlcnkgc3RhcGxl"  # anybody, KEY
CLOSED = ["POST /predict", "POST /detect", "POST /predict/", "POST /detect/", *(f"GET {path}" for path in PAGES)]
ONE: dict[str, Any] = {"api_keys": (DIGEST,)}
ALL = ONE | {"api_keys_file": (OTHER,), "metrics_keys": (METRICS,)}


def test_without_a_key_only_health(client: Make) -> None:
    """With a slash at the end or without."""
    asker, key = client(**ALL), {"X-API-Key": KEY}
    assert {asker.get(path).status_code for path in HEALTH} == {200}
    for asked in CLOSED:
        answer = asker.request(*asked.split(), content=wav("up"))
        check(answer, "unauthorized")
        assert [value.split()[0] for value in answer.headers.get_list("WWW-Authenticate")] == ["Basic", "Bearer"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        check(asker.request(*asked.split(), content=wav("up"), headers=key), 404 if "nothing" in asked else 200)
    document = asker.get("/openapi.json", headers=key).json()
    assert document["security"] == [{"bearer": []}, {"key": []}]
    assert "401" in document["paths"]["/predict"]["post"]["responses"]
    assert document["paths"]["/readyz"]["get"]["security"] == []


SCRAPED = {"/metrics": 200, "/": 401}  # what who brings no key may read there where only scraping is open
KEYS: list[tuple[Any, Any, dict[str, int]]] = [  # settings, headers, path -> status
    *((ALL, {"X-API-Key": key}, {"/": 200, "/metrics": 200}) for key in (KEY, "another")),
    *((ALL, {"X-API-Key": key}, {"/": 401, "/metrics": 401}) for key in ("", DIGEST, KEY[:-1], b"\xff\xfe")),
    *((ALL, {"Authorization": text}, {"/": 200}) for text in (f"Bearer {KEY}", f"bearer  {KEY}", BASIC)),
    *((ALL, {"Authorization": text}, {"/": 401}) for text in (KEY, "Bearer", "Basic %%%", "Basic //8=", "Digest a")),
    (ALL, {"X-API-Key": SCRAPER}, SCRAPED),
    (ONE, {"X-API-Key": SCRAPER}, {"/metrics": 401}),
    (ONE | {"metrics_open": True}, {}, SCRAPED),
    ({"metrics_keys": (METRICS,)}, {}, {"/metrics": 401, "/": 200}),
]


@pytest.mark.parametrize(("settings", "headers", "statuses"), KEYS)
def test_keys(client: Make, settings: dict[str, Any], headers: Any, statuses: dict[str, int]) -> None:
    asker = client(**settings)
    assert {path: asker.get(path, headers=headers).status_code for path in statuses} == statuses


def test_a_rate_limit_for_each_client_or_key(client: Make) -> None:
    asker = client(rate_limit="2/hour", proxies=1)
    # The last entry is the one that the trusted proxy wrote; without any the peer counts.
    for forwarded in ("203.0.113.1", "203.0.113.1, 203.0.113.2"):
        named = {"X-Forwarded-For": forwarded}
        statuses = [asker.post("/predict", content=wav("no"), headers=named).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        answer = asker.get("/metrics", headers=named)
        check(answer, "rate-limited")
        assert 1 <= int(answer.headers["Retry-After"]) <= 3600
        assert asker.get("/readyz", headers=named).status_code == 200
    assert [asker.get("/v2", extensions={"peer": peer}).status_code for peer in "aaabb"] == [200, 200, 429, 200, 200]
    asker = client(rate_limit="1/hour", api_keys=(DIGEST, OTHER))
    statuses = [asker.get("/v2", headers={"X-API-Key": key}).status_code for key in (KEY, KEY, "another", "another")]
    assert statuses == [200, 429, 200, 429]


APP = "https://app.example"
CORS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        *(((APP, "http://[::1]:3000"), listed, True) for listed in (APP, "http://[::1]:3000")),
        (("*",), "https://anybody.example", True),
        *(((APP,), other, False) for other in (f"{APP}.evil.example", "https://appXexample", "http://app.example")),
        ((), APP, False),
    ],
)
def test_cors(client: Make, origins: tuple[str, ...], origin: str, allowed: bool) -> None:
    """Preflights need no key; every answer, a refusal too, can be read by the pages that are listed."""
    asker, said = client(api_keys=(DIGEST,), cors_origins=origins), origin if allowed else None
    for path in ("/predict", "/v2/models/kws/infer"):
        preflight = asker.request("OPTIONS", path, headers={"Origin": origin, **CORS})
        assert preflight.status_code == (204 if allowed else 401)
        assert preflight.headers.get("Access-Control-Allow-Origin") == said
        assert (preflight.headers.get("Access-Control-Allow-Headers") == "authorization, content-type") == allowed
    for key, body, status in ((KEY, wav("up"), 200), (KEY, b"x", 415), ("", wav("up"), 401)):
        answer = asker.post("/predict", content=body, headers={"Origin": origin, "X-API-Key": key})
        assert (answer.status_code, answer.headers.get("Access-Control-Allow-Origin")) == (status, said)
        assert ("X-Request-ID" in answer.headers.get("Access-Control-Expose-Headers", "")) == allowed
    assert "Access-Control-Allow-Origin" not in asker.get("/livez").headers


def test_every_address_is_right_under_a_prefix(client: Make) -> None:
    """A proxy takes the prefix away before it asks, and need not say so; `check` follows the types of problems."""
    asker, prefix = client(), "http://proxy/a/b"
    for page in ("/", "/docs", "/docs/"):
        text = asker.get(page).text
        (root,) = re.findall(r'data-root="([^"]+)"', text)
        links = re.findall(r'(?:src|href|action)="((?!data:)[^"]+)"', text)
        assert len(links) > 1
        for link in (*links, f"{root}readyz", f"{root}samples/yes"):
            target = urljoin(f"{prefix}{page}", link)
            assert target.startswith(f"{prefix}/"), (page, link)
            assert asker.get(target.removeprefix(prefix)).status_code in (200, 405), (page, link)
    assert asker.get("/openapi.json").json()["servers"] == [{"url": "."}]
    scripts = "".join(path.read_text() for path in (ROOT / "service" / "static").glob("*.js"))
    assert not re.findall(r"[\"'`]/\w", scripts)


def test_a_digest_is_what_sha256sum_prints_and_a_key_is_never_logged(guarded: Server) -> None:
    printed = subprocess.run(["sha256sum"], input=KEY, capture_output=True, text=True, check=True).stdout
    assert read_digests(f"# of the page\n{printed}{printed}") == (DIGEST,) * 2
    assert [guarded.predict(wav("up"), headers=sent).status_code for sent in ({}, {"X-API-Key": KEY})] == [401, 200]
    assert KEY not in guarded.stderr() + (guarded.folder / "stdout").read_text()
