"""Unpack the wanted words of a .tar.gz in the Speech Commands layout, safely and atomically. Standard library only."""

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from model.data.layout import AUDIO_SUFFIXES, EVERY_WORD, INFO_FILE, NOISE_FOLDER, TESTING_LIST, VALIDATION_LIST
from model.errors import UserError

_TOP_FILES = (VALIDATION_LIST, TESTING_LIST, INFO_FILE)
_DONE, _ALL_DONE = ".complete", ".complete-with-every-word"

Progress = Callable[[int, int], None]  # bytes done, bytes in all


def unpack(archive: Path, into: Path, words: tuple[str, ...], progress: Progress = lambda *_: None) -> None:
    """Add the folders of ``words``, the noise and the split lists to ``into``; what is there already stays.

    Each folder is moved into place whole. Words that the archive does not have are left out; ``EVERY_WORD`` among
    ``words`` stands for all it has. The caller holds a lock on ``into``.

    Raises:
        UserError: no gzip'd tar, truncated or damaged, or with a member that is a link or leads out of ``into``.
        OSError: no space left, among others.
    """
    wanted = {word for word in (*words, NOISE_FOLDER) if not (into / word).is_dir()}
    if (into / _ALL_DONE).exists() or (not wanted and (into / _DONE).exists()):
        return
    into.parent.mkdir(parents=True, exist_ok=True)
    for left in into.parent.glob(f".{into.name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)  # by a run that was killed
    working = Path(tempfile.mkdtemp(prefix=f".{into.name}.", suffix=".tmp", dir=into.parent))
    try:
        _extract(archive, working, wanted, progress)
        into.mkdir(exist_ok=True)
        for name in sorted(path.name for path in working.iterdir()):
            if not (into / name).exists():
                (working / name).rename(into / name)
        (into / (_ALL_DONE if EVERY_WORD in words else _DONE)).touch()
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _extract(archive: Path, working: Path, wanted: set[str], progress: Progress) -> None:
    size = archive.stat().st_size
    try:
        # gzip, not tarfile, reads the stream, to its end: tarfile takes a truncation between two members for the end.
        with archive.open("rb") as raw, gzip.open(raw) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                _check(member, archive)
                if target := _target(member, wanted):
                    member.name = target  # the two last parts; whatever folder the archive wraps them in goes
                    tar.extract(member, working, filter="data")
                    progress(raw.tell(), size)
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"archive '{archive}' is corrupt or no .tar.gz ({error}); fetch or pack it again") from error


def _check(member: tarfile.TarInfo, archive: Path) -> None:
    parts = PurePosixPath(member.name).parts
    unsafe = ".." in parts or member.name.startswith("/") or "\\" in member.name
    if unsafe or not (member.isfile() or member.isdir()):
        kind = "leads out of the archive" if unsafe else "is a link or a device"
        raise UserError(f"archive '{archive}' is unsafe: member '{member.name}' {kind}; pack plain files only")


def _target(member: tarfile.TarInfo, wanted: set[str]) -> str | None:
    """Where a member goes below the data set, or None when it is not needed."""
    path = PurePosixPath(member.name)
    if not member.isfile() or path.name.startswith("."):
        return None
    if path.name in _TOP_FILES:
        return path.name
    if path.suffix.lower() in AUDIO_SUFFIXES and (path.parent.name in wanted or EVERY_WORD in wanted):
        return f"{path.parent.name}/{path.name}"
    return None
