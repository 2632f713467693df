"""Fetch the official archive over HTTP, verified by SHA-256."""

import hashlib
import http.client
import logging
import re
import urllib.request
from pathlib import Path

from model import files
from model.data.archive import Progress
from model.errors import UserError

log = logging.getLogger(__name__)
_TIMEOUT = 60.0  # s without a byte


def official(url: str, sha256: str, cache: Path, progress: Progress = lambda *_: None) -> Path:
    """The archive at ``url``, which appears in the folder ``cache`` only when it is complete and has this SHA-256.

    Raises UserError: a bad URL or digest, an unreachable server, an incomplete transfer or a wrong checksum.
    """
    if not re.fullmatch("[0-9a-f]{64}", sha256.lower()):
        raise UserError(f"--dataset-sha256 '{sha256}' is no SHA-256; give its 64 hex digits")
    if not url.startswith(("http://", "https://")):
        raise UserError(f"--dataset-url '{url}' is not an http(s) address; correct it, or give a path to --dataset")
    archive = cache / sha256[:32].lower()
    part = archive.with_suffix(".part")
    with files.locked(archive.with_suffix(".lock")):
        if archive.exists():
            return archive
        log.info("downloading %s", url)
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, part.open("wb") as file:  # noqa: S310
                total = int(response.headers.get("Content-Length") or 0)
                while block := response.read(1 << 18):
                    file.write(block)
                    progress(file.tell(), total)
            if part.stat().st_size < total:
                raise ConnectionError("the connection ended early")
        except (OSError, http.client.HTTPException) as error:
            if files.no_space(error):
                raise
            remedy = f"check it and the network, or give --dataset the file that `curl -LOC - {url}` fetches"
            raise UserError(f"cannot download {url}: {getattr(error, 'reason', error)}; {remedy}") from error
        if (actual := sha256_of(part)) != sha256.lower():
            raise UserError(f"{url} has the wrong checksum: SHA-256 {actual}; give the right --dataset-sha256")
        return part.rename(archive)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
