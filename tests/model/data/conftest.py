"""Small data sets as folders and archives, and the settings that open them."""

import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from model.data.source import DataSet, open_dataset
from model.settings import Settings

USUAL = ("up", "down", "yes", "no")


def recording(name: str, kind: str = "WAV", samples: int = 400) -> bytes:
    """Noise that is another for each name."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(zlib.crc32(name.encode(errors="surrogateescape"))).normal(0, 3000, samples)
    soundfile.write(buffer, noise.astype(np.int16), 16_000, format=kind, subtype=None if kind == "MP3" else "PCM_16")
    return buffer.getvalue()


def files_of(names: Iterable[str], **texts: str | bytes) -> dict[str, bytes]:
    """Recordings by these names, and text files: ``validation_list="up/a.wav"`` gives ``validation_list.txt``."""
    files = {name: recording(name) for name in names}
    for name, text in texts.items():
        suffix = ".json" if name == "dataset" else ".txt"
        files[name + suffix] = text if isinstance(text, bytes) else text.encode()
    return files


def numbered(words: Iterable[str], count: int, form: str = "{word}/{number:08x}_nohash_0.wav") -> list[str]:
    """The names of ``count`` recordings a word."""
    return [form.format(word=word, number=number) for word in words for number in range(count)]


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    """Files as a folder."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """A member of a tar without content: a link, a pipe, …"""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tar(path: Path, files: Mapping[str, bytes], *extra: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    """Files as a tar, with extra members at its end."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = member(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path


def pack_zip(path: Path, files: Mapping[str, bytes], mode: int = 0) -> Path:
    """Files as a ZIP; ``mode`` gives the first one another kind, a link's say."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if mode:
                info.create_system, info.external_attr, mode = 3, mode << 16, 0
            archive.writestr(info, data)
    return path


def opened(path: Path | str, **settings: Any) -> DataSet:
    """The data set of a run with these settings."""
    return open_dataset(replace(Settings(), **{"dataset": str(path), **settings}))


def told(dataset: DataSet) -> str:
    """All notes of a data set."""
    return "\n".join(dataset.notes)


@pytest.fixture(scope="session")
def shared_subset() -> Path:
    """The shared subset of Speech Commands."""
    beside = Path(__file__).parents[4] / "shared/data/speech_commands_subset.tar.gz"
    path = Path(os.environ.get("KWS_TEST_DATASET", beside))
    if not path.exists():
        pytest.skip(f"real data: {path} is not there; set KWS_TEST_DATASET")
    return path
