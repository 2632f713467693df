"""Whether what the pipeline needs from outside answers here: ``python -m tools.doctor``. Standard library only.

A line each: ``ok``, ``warning`` (it goes on without), ``FAILED`` or ``skipped``, with the setting to change.
"""

import argparse
import base64
import html
import json
import re
import shutil
import ssl
import urllib.request
from collections.abc import Callable
from functools import partial
from http.client import HTTPException
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

FAILED = 3
TIMEOUT = 20  # seconds
PYPI, OSV = "https://pypi.org/simple", "https://api.osv.dev"


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
        cause = getattr(error, "reason", error)
        untrusted = isinstance(cause, ssl.SSLCertVerificationError)
        why = "its certificate is not trusted here: give the engine the CA (docs/offline.md)" if untrusted else cause
        raise UnansweredError(" ".join(f"{shown(url)}: {getattr(error, 'code', '')} {why}".split())) from None


def package_index(url: str, package: str = "pip") -> None:
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
    if '"results"' not in read(f"{url.rstrip('/')}/v1/querybatch", 1 << 20, json.dumps(asked).encode()):
        raise UnansweredError(f"{shown(url)} does not answer as OSV does")


def disk() -> str:
    """How much of the disk is free where a container's files lie, as the engine's cache (dagger/dagger, PR 14181)."""
    share = (usage := shutil.disk_usage("/")).free / usage.total
    if share >= 0.2:
        return f"ok       disk: {share:.0%} is free"
    return f"warning  disk: {share:.0%} is free; under 20 % an engine drops its whole cache after each command"


TORCH = "KWS_TORCH_INDEX names another; else torch is the package index's, 5 GB"
# The option that names the address, its default, what asks it, what is said where it does not answer, the remedy.
CHECKS: list[tuple[str, str, Callable[[str], object], str, str]] = [
    ("package-index", PYPI, package_index, "FAILED", "KWS_PACKAGE_INDEX names another"),
    ("torch-index", "", partial(package_index, package="torch"), "warning", TORCH),
    ("dataset-url", "", read, "FAILED", "name a mirror; --dataset=FILE and --synthetic need none"),
    ("vulnerability-source", OSV, vulnerability_source, "FAILED", "a database as a directory needs none"),
]


def main() -> int:
    """Exit code 3: something that is needed does not answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default, *_ in CHECKS:
        parser.add_argument(f"--{option}", default=default, help="empty: not asked (%(default)s)")
    states = []
    for (option, _, check, otherwise, remedy), url in zip(CHECKS, vars(parser.parse_args()).values(), strict=True):
        state, text = "skipped", f"no address is named (--{option}): {remedy}"
        try:
            if url:
                check(url)
                state, text = "ok", f"{shown(url)} answers"
        except UnansweredError as error:
            state, text = otherwise, f"{error} (--{option}): {remedy}"
        print(f"{state:<8} {option.replace('-', ' ')}: {text}", flush=True)
        states.append(state)
    print(disk(), flush=True)
    return FAILED if "FAILED" in states else 0


if __name__ == "__main__":
    raise SystemExit(main())
