"""From what the user names as data set to a folder in the Speech Commands layout, with what is known of its origin."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model import files
from model.data import archive
from model.data.layout import read_info
from model.errors import UserError

CC_BY = "CC BY 4.0"
_WARDEN = "Pete Warden, Speech Commands: a dataset for limited-vocabulary speech recognition, arXiv:1804.03209"

# Archives whose content, and so whose licence, is known: SHA-256 -> name.
KNOWN_ARCHIVES = {
    "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58": "Speech Commands v0.02",
    "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d": "Speech Commands v0.01",
    "353845981fd5f3f27ed0e6b9e46bde7968336969896e137c6f61b24e5b71fc5a": "Speech Commands v0.01, a subset",
}


@dataclass(frozen=True)
class Source:
    """A data set on disk. ``licence`` and ``attribution`` are empty where they are not known."""

    root: Path
    name: str
    licence: str = ""
    attribution: str = ""


def cache_root() -> Path:
    """``KWS_CACHE``, else ``kws`` in the user's cache folder (XDG base directory specification)."""
    if own := os.environ.get("KWS_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kws"


def from_path(path: Path, words: tuple[str, ...], progress: archive.Progress = lambda *_: None) -> Source:
    """A folder as it is, or an archive unpacked into the cache under its digest.

    Raises:
        UserError: nothing there, or not what it should be.
    """
    if path.is_dir():
        info = read_info(path)
        return Source(path, info.get("name", path.resolve().name), info.get("licence", ""), info.get("attribution", ""))
    if not path.exists():
        raise UserError(
            f"data set '{path}' does not exist; give a folder, a .tar.gz archive, speech-commands or synthetic"
        )
    return from_archive(path, sha256_of(path), words, progress)


def from_archive(path: Path, sha256: str, words: tuple[str, ...], progress: archive.Progress) -> Source:
    """An archive whose digest is known already; not even read when the cache holds its words."""
    root = cache_root() / "archives" / sha256[:32]
    with files.locked(root.with_suffix(".lock")):
        archive.unpack(path, root, words, progress)
    info = read_info(root)
    known = KNOWN_ARCHIVES.get(sha256)
    return Source(
        root,
        known or info.get("name", path.name),
        CC_BY if known else info.get("licence", ""),
        _WARDEN if known else info.get("attribution", ""),
    )


def sha256_of(path: Path, progress: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of a file as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            progress(len(block))
    return digest.hexdigest()
