"""``speech-commands``: the official archive, downloaded once into the cache."""

import logging

from model import files
from model.data import source
from model.data.archive import Progress
from model.data.download import download

log = logging.getLogger(__name__)

URL = "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"  # also in torchaudio's source


def fetch(url: str, sha256: str, words: tuple[str, ...], downloading: Progress, unpacking: Progress) -> source.Source:
    """The archive at ``url`` with that SHA-256, its ``words`` unpacked; nothing is fetched that the cache holds.

    Raises:
        UserError: unreachable, wrong checksum, corrupt.
    """
    archive = source.cache_root() / "downloads" / f"{sha256[:32]}.tar.gz"
    with files.locked(archive.with_suffix(".lock")):
        if not archive.exists():
            log.info("downloading %s", url)
            download(url, sha256, archive, downloading)
    return source.from_archive(archive, sha256, words, unpacking)
