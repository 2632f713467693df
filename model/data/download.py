"""Fetch the official archive over HTTP: resumed where it stopped, verified by SHA-256."""

import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

from model import console, files
from model.errors import UserError

log = logging.getLogger(__name__)

_TIMEOUT = 60.0
_BLOCK = 1_000_000  # bytes
_ATTEMPTS = 8
_PAUSE = 2.0  # seconds, longer each time


def official(url: str, sha256: str) -> Path:
    """The archive at ``url``, which appears in the cache only when it is complete and has this SHA-256.

    What has arrived stays in a part when the connection or the process dies, and is gone on with (HTTP Range, RFC
    9110). A complete part that turns out wrong is thrown away, and fetched anew if it was an old one. Raises UserError:
    a bad URL or digest, an unreachable server, an incomplete transfer or a wrong checksum.
    """
    if not re.fullmatch("[0-9a-f]{64}", sha256.lower()):
        raise UserError(f"--dataset-sha256 '{sha256}' is no SHA-256; give its 64 hex digits")
    if not url.startswith(("http://", "https://")):
        raise UserError(f"--dataset-url '{url}' is not an http(s) address; correct it, or give a path to --dataset")
    archive = files.cache_root() / "downloads" / sha256[:32].lower()
    part = archive.with_suffix(".part")
    with files.locked(archive.with_suffix(".lock")):
        if archive.exists():
            return archive
        log.info("downloading %s", url)
        part.touch()
        for attempt in range(_ATTEMPTS):
            time.sleep(_PAUSE * attempt)
            start = part.stat().st_size
            if problem := _fetch(url, part, start):
                continue
            if (actual := files.sha256_of(part)) == sha256.lower():
                return part.rename(archive)
            part.unlink()
            if start == 0:
                raise UserError(f"{url} has the wrong checksum: SHA-256 {actual}; give the right --dataset-sha256")
            part.touch()
    raise UserError(f"cannot download {url}: {problem}; check the network and run again to go on")


def _fetch(url: str, part: Path, start: int) -> str:
    """One request, from byte ``start``; what went wrong, empty where the file is complete."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310 - http(s) only
            done = start if response.status == 206 else 0
            total = done + int(response.headers.get("Content-Length") or 0)
            blocks = iter(partial(response.read, _BLOCK), b"")
            with part.open("ab" if done else "wb") as file:
                for block in console.track(blocks, max(1, (total - done) // _BLOCK), "downloading (MB)"):
                    done += file.write(block)
        return "the connection ended early" if done < total else ""
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing after it: complete, or longer than the file
            return ""
        if error.code < 500 and error.code not in (408, 429):
            raise UserError(f"cannot download {url}: HTTP {error.code} {error.reason}; check --dataset-url") from error
        return f"HTTP {error.code} {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        if files.no_space(error):
            raise
        return str(getattr(error, "reason", error)) or type(error).__name__
