"""What a data set holds, as one digest a split; files that have not changed since the last time are not read again.

The digest names the content whatever folder or archive it came from. That a file has not changed is told by its name,
size, and times of modification and of change, as ``make`` and ``git`` do; the last cannot be set by a program.
Standard library only.
"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model import files
from model.data.source import cache_root

_CHUNK = 256  # files a task


def digest_of(root: Path, names: Sequence[str], role: str, workers: int) -> str:
    """The SHA-256 (64 hex digits) over the names below ``root``, their ``role`` and the SHA-256 of what they hold."""
    stamp = hashlib.sha256(f"{root.resolve()}\t{role}\n".encode())
    for name in names:
        state = (root / name).stat()
        stamp.update(f"{name}\t{state.st_size}\t{state.st_mtime_ns}\t{state.st_ctime_ns}\n".encode())
    known = cache_root() / "digests" / f"{stamp.hexdigest()[:32]}.json"
    try:
        return str(json.loads(known.read_text())["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not whole: read the files
    digest = hashlib.sha256()
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    with ThreadPoolExecutor(workers) as pool:  # reading and hashing both let other threads run
        for chunk, sums in zip(chunks, pool.map(lambda chunk: _sums(root, chunk), chunks), strict=True):
            for name, sum_ in zip(chunk, sums, strict=True):
                digest.update(f"{name}\t{role}\t{sum_}\n".encode())
    known.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(known, json.dumps({"sha256": digest.hexdigest()}).encode())
    return digest.hexdigest()


def _sums(root: Path, names: Sequence[str]) -> list[str]:
    return [hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names]
