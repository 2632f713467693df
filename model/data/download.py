"""Fetch the official archive over HTTP: resumed where it stopped, verified by SHA-256."""

import hashlib
import http.client
import logging
import re
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from model import files
from model.data.formats import Progress
from model.errors import UserError

log = logging.getLogger(__name__)

_TIMEOUT = 60.0
_ATTEMPTS = 4  # in a row without a byte of progress
_BLOCK = 1 << 18


def official(url: str, sha256: str, cache: Path, progress: Progress = lambda *_: None, pause: float = 2.0) -> Path:
    """The archive at ``url``, which appears in the folder ``cache`` only when it is complete and has this SHA-256.

    What has arrived stays in a part when the connection or the process dies, and is gone on with (HTTP Range, RFC
    9110). A part that turns out wrong is thrown away, and fetched anew once if it was an old one.

    Raises:
        UserError: a bad URL or digest, an unreachable server, an incomplete transfer or a wrong checksum.
    """
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise UserError(f"--dataset-sha256 '{sha256}' is no SHA-256; give its 64 hex digits")
    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"--dataset-url '{url}' is not an http(s) address; correct it, or give a path to --dataset")
    archive = cache / sha256[:32].lower()
    part = archive.with_suffix(".part")
    with files.locked(archive.with_suffix(".lock")):
        if archive.exists():
            return archive
        log.info("downloading %s", url)
        for _ in range(1 + part.exists()):
            _complete(url, part, progress, pause)
            actual = sha256_of(part)
            if actual == sha256.lower():
                return part.rename(archive)
            part.unlink()
    raise UserError(
        f"download of {url} has the wrong checksum: SHA-256 {actual}, expected {sha256.lower()}; "
        "run again, or give the right --dataset-sha256"
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _complete(url: str, part: Path, progress: Progress, pause: float) -> None:
    """Fetch the rest of ``part``, trying again as long as bytes keep coming."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _fetch(url, part, before, progress):
                return
            problem = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise UserError(
                    f"cannot download {url}: HTTP {error.code} {error.reason}; check --dataset-url"
                ) from error
            problem = f"HTTP {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        size = part.stat().st_size if part.exists() else 0
        failures = 0 if size > before else failures + 1
        if failures == _ATTEMPTS:
            raise UserError(
                f"cannot download {url}: {problem} ({size:,} bytes kept); check the network and run again to go on"
            )
        time.sleep(pause * failures)


def _fetch(url: str, part: Path, start: int, progress: Progress) -> bool:
    """One request, from byte ``start``; whether the file is complete afterwards."""
    request = urllib.request.Request(url, headers={"User-Agent": "kws", "Accept-Encoding": "identity"})  # noqa: S310
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310 - http(s) only, checked above
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing after `start`: complete, or a part longer than the file
            return True
        raise
    with response:
        resumes = response.status == 206 and (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-")
        done = start if resumes else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length and length.isdigit() else 0
        with part.open("ab" if resumes else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                progress(done, total)
    return not total or done == total
