"""Files and folders that appear whole or not at all. Standard library only."""

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from model.errors import UserError

_LOCK = ".lock"


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_saved(path: Path, save: Callable[[io.BytesIO], object]) -> None:
    """Write a file whole by what ``save`` puts into a buffer: soundfile and torch do not tell that a disk is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    save(buffer := io.BytesIO())
    new.write_bytes(buffer.getvalue())
    new.replace(path)


def normal(path: Path) -> Path:
    """Absolute and without ``..``, links as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def atomic_directory(output: Path, is_former: Callable[[Path], bool]) -> Iterator[Path]:
    """A new folder beside ``output`` to write into; takes its place when the block ends without an exception.

    What a killed run left is removed by the next one with the same output. ``is_former`` tells an earlier output, which
    alone may be replaced. Raises UserError: ``output`` is in the way, or cannot be written.
    """
    output = normal(output)
    _check_replaceable(output, is_former)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        for left in output.parent.glob(f".{output.name}.*.tmp"):
            in_use_or_gone = suppress(BlockingIOError, FileNotFoundError, NotADirectoryError)
            with in_use_or_gone, (left / _LOCK).open("w") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
        temporary = tempfile.TemporaryDirectory(".tmp", f".{output.name}.", output.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(f"output '{output}' is not writable ({reason(error)}); give another --output") from error
    with temporary as name, locked((working := Path(name)) / _LOCK):  # the lock says that it is in use, not left
        yield working
        _check_replaceable(output, is_former)  # hours may have passed
        working.chmod(0o755)  # it was made private
        _replace(working, output)


def cache_root() -> Path:
    """``KWS_CACHE``, else ``kws`` in the user's cache folder (XDG base directory specification)."""
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("KWS_CACHE") or Path(user, "kws"))


def cached(kind: str, key: Any, fill: Callable[[Path], object]) -> Path:
    """A folder of the cache, which ``fill`` writes unless it is there, whole or not at all, while other runs wait;
    ``key`` is all that its content depends on."""
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    entry = cache_root() / kind / name
    with locked(entry.with_suffix(".lock")):
        if not entry.is_dir():
            with atomic_directory(entry, lambda _: False) as folder:
                fill(folder)
                os.sync()  # else a power failure may leave the name without the content
    return entry


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two runs do not fill the same cache entry at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def holding(marker: str, *others: str) -> Callable[[Path], bool]:
    """Tells an earlier output: a folder that has the marker, and nothing but what we write."""
    return lambda folder: {marker} <= {path.name for path in folder.iterdir()} <= {marker, *others}


def reason(error: OSError) -> str:
    """``OSError`` as words: ``permission denied``."""
    return (error.strerror or str(error)).lower()


def no_space(error: BaseException) -> bool:
    """Whether an exception says that a disk or quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _check_replaceable(output: Path, is_former: Callable[[Path], bool]) -> None:
    """Raises UserError: an output cannot be put in place, for it is a file, a mount point, or has others' files."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise UserError(f"output '{output}' is not a folder; give another --output")
    if output.is_mount():
        raise UserError(f"output '{output}' is a mount point and cannot be replaced whole; give a folder below it")
    if output.exists() and any(output.iterdir()) and not is_former(output):
        raise UserError(f"output '{output}' holds other files, which would be lost; give an empty or a new folder")


def _replace(working: Path, output: Path) -> None:
    """Put ``working`` in the place of ``output``; an older one goes away last."""
    (working / _LOCK).unlink()
    old = working.with_suffix(".old")
    # Between the two names there is no output: not the moment to be stopped.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        if output.exists():
            output.rename(old)
        working.rename(output)
    except OSError:
        if old.exists():
            old.rename(output)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    shutil.rmtree(old, ignore_errors=True)
