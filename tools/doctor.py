"""Whether what the pipeline needs from outside answers here: ``python -m tools.doctor``. Standard library only.

A line each: ``ok``, ``warning`` (it goes on without), ``FAILED`` or ``skipped``, with the setting to change.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

FAILED = 3
TIMEOUT = 20  # seconds
PYPI = "https://pypi.org/simple"
OSV = "https://api.osv.dev"


class UnansweredError(Exception):
    """An address does not answer, or not as it should; without what may be a secret."""


def shown(url: str) -> str:
    """The address without login and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def read(url: str, limit: int = 1, body: bytes | None = None) -> str:
    """The first bytes of what is there; a login in the address goes to its host alone. Raises UnansweredError."""
    try:
        parts = urlsplit(url)
        login, _, host = parts.netloc.rpartition("@")
        headers = {"User-Agent": "kws-doctor", **({} if body else {"Range": f"bytes=0-{limit - 1}"})}
        request = urllib.request.Request(parts._replace(netloc=host).geturl(), body, headers)  # noqa: S310
        if login:
            token = base64.b64encode(unquote(login).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 (the user's own address)
            return str(answer.read(limit).decode(errors="replace"))
    except (OSError, ValueError, HTTPException) as error:
        raise UnansweredError(f"{shown(url)}: {why(error)}") from None


def why(error: Exception) -> str:
    """The reason in a few words, without the address."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "its certificate is not trusted here: give the engine the CA (docs/offline.md)"
    if isinstance(cause, socket.gaierror):
        return "no such host"
    return f"no answer within {TIMEOUT} s" if isinstance(cause, TimeoutError) else " ".join(str(cause).split())


def package_index(url: str, package: str) -> None:
    """The index's page of a package, and the first file that it lists, often of another host."""
    page = f"{url.rstrip('/')}/{package}/"
    link = re.search(r"""<a\b[^>]*?\bhref=["']([^"']+)""", read(page, 1 << 16))
    if not link:
        raise UnansweredError(f"{shown(page)} lists no file as a package index does")
    there, here = urlsplit(urldefrag(urljoin(page, html.unescape(link[1]))).url), urlsplit(page)
    same = there.netloc.rpartition("@")[2] == here.netloc.rpartition("@")[2]
    read(there._replace(netloc=here.netloc).geturl() if same else there.geturl())


def vulnerability_source(url: str) -> None:
    """OSV's API, asked as osv-scanner asks it."""
    asked = {"queries": [{"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "26.0"}]}
    answer = read(f"{url.rstrip('/')}/v1/querybatch", 1 << 20, json.dumps(asked).encode())
    if '"results"' not in answer:
        raise UnansweredError(f"{shown(url)} does not answer as OSV does")


def main() -> int:
    """Exit code 3: something that is needed does not answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package-index", default=PYPI, help="(%(default)s)")
    parser.add_argument("--torch-index", default="", help="empty: torch comes from the package index")
    parser.add_argument("--dataset-url", default="", help="empty: the data set comes otherwise")
    parser.add_argument("--vulnerability-source", default=OSV, help="empty: a local database (%(default)s)")
    options = parser.parse_args()
    checks: list[tuple[str, str, Callable[[str], object], str]] = [
        ("package index", options.package_index or PYPI, lambda url: package_index(url, "pip"), "FAILED"),
        ("torch's index", options.torch_index, lambda url: package_index(url, "torch"), "warning"),
        ("data set", options.dataset_url, read, "FAILED"),
        ("vulnerability source", options.vulnerability_source, vulnerability_source, "FAILED"),
    ]
    remedies = {
        "package index": "--package-index or KWS_PACKAGE_INDEX names another",
        "torch's index": "--torch-index or KWS_TORCH_INDEX names another; else torch is the package index's, 5 GB",
        "data set": "--dataset-url names a mirror; --dataset=FILE and --synthetic need none",
        "vulnerability source": "a database as a directory needs none; --bounds=max_vulnerabilities=false goes without",
    }
    failed = False
    for name, url, check, otherwise in checks:
        state, text = "skipped", f"no address is named: {remedies[name]}"
        try:
            if url:
                check(url)
                state, text = "ok", f"{shown(url)} answers"
        except UnansweredError as error:
            state, text = otherwise, f"{error}; {remedies[name]}"
        print(f"{state:<8} {name}: {text}", flush=True)
        failed = failed or state == "FAILED"
    return FAILED if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
