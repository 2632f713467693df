"""Whether what the pipeline needs from outside answers here: ``python -m tools.doctor``. Standard library only.

A line each: ``ok``, ``warning`` (it goes on without), ``FAILED`` or ``skipped``, with the setting to change.
"""

from __future__ import annotations

import argparse
import base64
import html
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from tools.audit import AuditError, Package, Source

EXIT_FAILED = 3
TIMEOUT = 20  # seconds
PYPI = "https://pypi.org/simple"
DEBIAN = "http://deb.debian.org"
UNANSWERED = (OSError, ValueError, HTTPException)
CA = "its certificate is not trusted here: give the engine the CA (docs/offline.md)"


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What a check found, and where it failed the setting to change."""

    state: State
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.state:<8} {self.name}: {self.text}"


def report(findings: Iterable[Finding]) -> int:
    """Print the findings; the exit code."""
    failed = False
    for finding in findings:
        print(finding, flush=True)
        failed = failed or finding.state is State.FAILED
    return EXIT_FAILED if failed else 0


@dataclass(frozen=True)
class Place:
    """Where something is fetched from; a user name and a password in the address go to its host alone, and are said
    by no message.
    """

    url: str

    @property
    def said(self) -> str:
        """Without what may be a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def at(self, link: str) -> Place:
        """What a link of its page leads to."""
        there = urlsplit(urldefrag(urljoin(self.url, link)).url)
        here = urlsplit(self.url)
        host = there.netloc.rpartition("@")[2]
        own = (there.scheme, host) == (here.scheme, here.netloc.rpartition("@")[2])
        return Place(there._replace(netloc=here.netloc if own else host).geturl())

    def read(self, limit: int = 1) -> str:
        """The first bytes. Raises one of UNANSWERED."""
        parts = urlsplit(self.url)
        login, _, host = parts.netloc.rpartition("@")
        bare = parts._replace(netloc=host).geturl()
        headers = {"Range": f"bytes=0-{limit - 1}", "User-Agent": "kws-doctor"}
        request = urllib.request.Request(bare, headers=headers)  # noqa: S310 (the user's own address)
        if login:
            token = base64.b64encode(unquote(login).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            return str(answer.read(limit).decode(errors="replace"))


def why(error: Exception) -> str:
    """The reason in a few words, without the address."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return CA
    if isinstance(cause, socket.gaierror):
        return "no such host"
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT} s"
    return " ".join(str(cause).split())


def package_index(index: str) -> Finding:
    name, remedy = "package index", "--package-index or KWS_PACKAGE_INDEX names another"
    return _index(name, index or PYPI, "pip", State.FAILED, remedy)


def torch_index(index: str) -> Finding:
    name, else_ = "torch's index", "torch comes from the package index then, 5 GB"
    if not index:
        return Finding(State.SKIPPED, name, f"none is named: {else_}")
    return _index(name, index, "torch", State.WARNING, f"{else_}; --torch-index or KWS_TORCH_INDEX names another")


def _index(name: str, index: str, package: str, otherwise: State, remedy: str) -> Finding:
    page = asked = Place(f"{index.rstrip('/')}/{package}/")
    try:
        link = re.search(r"""<a\b[^>]*?\bhref=["']([^"']+)""", page.read(1 << 16))
        if not link:
            return Finding(otherwise, name, f"{page.said} lists no file as a package index does: {remedy}")
        # Often of another host, which a firewall knows nothing of.
        asked = page.at(html.unescape(link[1]))
        asked.read()
    except UNANSWERED as error:
        return Finding(otherwise, name, f"{asked.said}: {why(error)}; {remedy}")
    return Finding(State.OK, name, f"{Place(index).said} and its files answer")


def dataset(url: str) -> Finding:
    name, remedy = "data set", "--dataset-url names a mirror; --dataset=FILE and --synthetic need none"
    if not url:
        return Finding(State.SKIPPED, name, "--dataset-url is empty: it comes with --dataset=FILE or --synthetic")
    return _answers(name, Place(url), State.FAILED, remedy)


def debian(mirror: str, publishing: bool, release: Path = Path("/etc/os-release")) -> Finding:
    name, remedy = "Debian's mirror", "--debian-mirror names another"
    facts = dict(line.split("=", 1) for line in release.read_text().splitlines() if "=" in line)
    codename = facts.get("VERSION_CODENAME", "").strip('"')
    if facts.get("ID") != "debian" or not codename:
        text = "the base image is not Debian, whose cosign, oras and skopeo publish: --base-image names another"
        return Finding(State.FAILED if publishing else State.WARNING, name, text)
    place = Place(f"{(mirror or DEBIAN).rstrip('/')}/debian/dists/{codename}/InRelease")
    needed = State.FAILED if publishing else State.WARNING
    return _answers(name, place, needed, remedy if publishing else f"needed to publish; {remedy}")


def _answers(name: str, place: Place, otherwise: State, remedy: str) -> Finding:
    try:
        place.read()
    except UNANSWERED as error:
        return Finding(otherwise, name, f"{place.said}: {why(error)}; {remedy}")
    return Finding(State.OK, name, f"{place.said} answers")


def vulnerabilities(source: str) -> Finding:
    name, off = "vulnerability source", "--bounds=max_vulnerabilities=false goes without"
    if not source:
        return Finding(State.SKIPPED, name, f"--vulnerability-source is empty: its gate fails, {off}")
    try:
        list(Source(source, pause=0).affecting([Package("pip", "pip", "PyPI", "26.0")]))
    except (AuditError, KeyError, TypeError) as error:
        return Finding(State.FAILED, name, f"{error}; {off}")
    return Finding(State.OK, name, f"{source} answers")


def main() -> int:
    """Exit code 3: something that is needed does not answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package-index", default="", help=f"({PYPI})")
    parser.add_argument("--torch-index", default="", help="(torch comes from the package index)")
    parser.add_argument("--dataset-url", default="", help="(not asked)")
    parser.add_argument("--debian-mirror", default="", help=f"({DEBIAN})")
    parser.add_argument("--vulnerability-source", default="", help="(not asked)")
    parser.add_argument("--publishing", action="store_true", help="what publishing needs is needed")
    options = parser.parse_args()
    checks: list[Callable[[], Finding]] = [
        lambda: package_index(options.package_index),
        lambda: torch_index(options.torch_index),
        lambda: dataset(options.dataset_url),
        lambda: debian(options.debian_mirror, options.publishing),
        lambda: vulnerabilities(options.vulnerability_source),
    ]
    with ThreadPoolExecutor(len(checks)) as pool:
        return report(pool.map(lambda check: check(), checks))


if __name__ == "__main__":
    raise SystemExit(main())
