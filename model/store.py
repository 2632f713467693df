"""Mel power on disk: computed once for each content and front end, memory-mapped by every run after that.

One folder a split, under a digest of what it was made from, put in place whole::

    $KWS_CACHE/features/<digest>/power.f16     float16[clips, copies, N_MELS, FRAMES]: the square root of mel power
    $KWS_CACHE/features/<digest>/files.json    what was found in each file; written last

Half precision of the square root keeps 1 part in 1,000 of the power over 15 decades, silence to full scale, in half the
memory, and squaring costs next to nothing.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model import audio, features, files
from model.data.source import cache_root
from model.settings import CLIP_SAMPLES

SPEEDS = ((9, 10), (11, 10))  # copies at -10 % and +10 %, a cheap vocal-tract change
POWER, FILES = "power.f16", "files.json"
_RECIPE = 1  # raise it when the same files shall give other features
_CHUNK = 64  # clips in work at once, a thread
_ROW = features.N_MELS * features.FRAMES

Progress = Callable[[int, int], None]  # clips done, clips in all


@dataclass(frozen=True)
class Stored:
    """The features of some files, in their order, and what was found in each."""

    found: tuple[audio.Found, ...]
    copies: int
    power: Tensor  # float16[files * copies, N_MELS * FRAMES], mapped; empty where no features were wanted
    mapping: mmap.mmap | None = None

    def read(self, rows: Tensor, copies: Tensor | int = 0) -> Tensor:
        """The mel power ``float32[n, N_MELS, FRAMES]`` of some rows, each in one of its versions."""
        chosen = self.power[rows * self.copies + copies]
        return chosen.float().square_().view(-1, features.N_MELS, features.FRAMES)

    def release(self) -> None:
        """Give the memory back that reading took; the next reading takes it again, from the kernel's cache of files."""
        if self.mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.mapping.madvise(mmap.MADV_DONTNEED)


def open_store(
    root: Path, names: Sequence[str], digest: str, copies: int, workers: int, progress: Progress = lambda *_: None
) -> Stored:
    """The features of the audio files ``names`` below ``root``, whose content ``digest`` names; computed at most once.

    ``copies`` is 0 (only see what is in the files), 1, or 1 + len(SPEEDS). Holds a few megabytes a worker; a broken
    file's row is left zero.
    """
    recipe = {"digest": digest, "copies": copies, "speeds": SPEEDS, "front_end": features.FRONT_END, "recipe": _RECIPE}
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:32]
    entry = cache_root() / "features" / key
    if (stored := _open(entry, len(names), copies)) is None:
        with files.locked(entry.with_suffix(".lock")):
            if (stored := _open(entry, len(names), copies)) is None:  # nobody made it while we waited
                with files.atomic_directory(entry, lambda _: True) as folder:
                    _fill(folder, root, names, copies, workers, progress)
                stored = _open(entry, len(names), copies)
    assert stored is not None  # noqa: S101 - just written
    return stored


def _open(entry: Path, count: int, copies: int) -> Stored | None:
    """What an entry holds, or None where it is missing or not what it should be."""
    try:
        content = json.loads((entry / FILES).read_text(encoding="utf-8"))
        found = tuple(audio.Found.from_text(text) for text in content["found"])
        size = (entry / POWER).stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    numbers = count * copies * _ROW
    if len(found) != count or size != 2 * numbers:
        return None
    if not numbers:
        return Stored(found, copies, torch.empty(0, _ROW, dtype=torch.float16))
    with (entry / POWER).open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # never written, but torch wants it writable
    power = torch.frombuffer(mapping, dtype=torch.float16)
    return Stored(found, copies, power.view(-1, _ROW), mapping)


def _fill(folder: Path, root: Path, names: Sequence[str], copies: int, workers: int, progress: Progress) -> None:
    starts = range(0, len(names), _CHUNK)
    found: list[audio.Found] = []
    with (
        (folder / POWER).open("wb") as file,
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        file.truncate(len(names) * copies * _ROW * 2)

        def work(start: int) -> list[audio.Found]:
            chunk = names[start : start + _CHUNK]
            waveforms, seen = _read(root, chunk)
            if copies:
                data = _power(waveforms, copies).numpy().tobytes()
                _write_at(file.fileno(), data, start * copies * _ROW * 2)
            return seen

        for seen in pool.map(work, starts):
            found += seen
            progress(len(found), len(names))
        file.flush()
        os.fsync(file.fileno())
    files.write_json(folder / FILES, {"found": [one.to_text() for one in found]})


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Through the file, not through a mapping, whose pages would all count as this process's memory."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def _read(root: Path, names: Sequence[str]) -> tuple[Tensor, list[audio.Found]]:
    waveforms = torch.zeros(len(names), CLIP_SAMPLES)
    found = []
    for row, name in enumerate(names):
        pcm, seen = audio.read_clip((root / name).read_bytes())
        found.append(seen)
        if pcm is not None:
            waveforms[row] = torch.from_numpy(audio.from_pcm(pcm))
    return waveforms, found


def _power(waveforms: Tensor, copies: int) -> Tensor:
    versions = [waveforms] + [features.change_speed(waveforms, *speed) for speed in SPEEDS[: copies - 1]]
    return torch.stack([features.mel_power(version) for version in versions], dim=1).sqrt_().half()
