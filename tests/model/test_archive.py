"""Unpacking: only what is needed, safely, whole or not at all."""

import tarfile
from pathlib import Path

import pytest

from model.data import archive
from model.data.source import from_path
from model.errors import UserError

from .conftest import tar_bytes, tone_files

WORDS = ("low", "high")


def _pack(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*.wav")}


def _recordings(files: dict[str, bytes]) -> set[str]:
    return {name for name in files if name.endswith(".wav")}


def test_only_the_wanted_words_come_out_and_more_can_follow(tmp_path: Path) -> None:
    files = tone_files(("low", "high", "other"), speakers=2)
    packed = _pack(tmp_path / "a.tar.gz", tar_bytes(files))
    root = tmp_path / "out"
    archive.unpack(packed, root, ("low",))
    assert _names(root) == {name for name in files if name.startswith(("low", "_back"))}
    archive.unpack(packed, root, WORDS)
    assert _names(root) == {name for name in _recordings(files) if not name.startswith("other")}
    packed.unlink()
    archive.unpack(packed, root, WORDS)  # complete: the archive is not even opened


def test_every_word_of_the_archive_can_be_asked_for(tmp_path: Path) -> None:
    files = tone_files(("low", "high", "other"), speakers=2)
    packed = _pack(tmp_path / "a.tar.gz", tar_bytes(files))
    archive.unpack(packed, tmp_path / "out", ("low", "*"))
    assert _names(tmp_path / "out") == _recordings(files)


@pytest.mark.parametrize("prefix", ["", "./", "speech_commands_v0.02/"])
def test_a_folder_around_everything_does_not_matter(tmp_path: Path, prefix: str) -> None:
    files = tone_files(speakers=1)
    archive.unpack(_pack(tmp_path / "a.tar.gz", tar_bytes(files, prefix=prefix)), tmp_path / "out", WORDS)
    assert _names(tmp_path / "out") == _recordings(files)


def _link(kind: bytes, name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "member",
    [
        _link(tarfile.SYMTYPE, "low/evil.wav", "/etc/passwd"),
        _link(tarfile.LNKTYPE, "low/evil.wav", "../../etc/passwd"),
        _link(tarfile.FIFOTYPE, "low/evil.wav", ""),
        tarfile.TarInfo("../low/evil.wav"),
        tarfile.TarInfo("/tmp/low/evil.wav"),  # noqa: S108 - the attack itself
        tarfile.TarInfo("low/../../evil.wav"),
    ],
    ids=["symlink", "hardlink", "fifo", "parent", "absolute", "inner-parent"],
)
def test_an_unsafe_archive_is_refused_and_leaves_nothing(tmp_path: Path, member: tarfile.TarInfo) -> None:
    packed = _pack(tmp_path / "a.tar.gz", tar_bytes(tone_files(speakers=1), member))
    with pytest.raises(UserError, match=r"is unsafe: member '.*evil.wav'"):
        archive.unpack(packed, tmp_path / "cache" / "out", WORDS)
    assert list((tmp_path / "cache").iterdir()) == []
    assert not list(tmp_path.rglob("evil.wav"))


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused_and_leaves_nothing(tmp_path: Path, kept: float) -> None:
    whole = tar_bytes(tone_files(speakers=3))
    packed = _pack(tmp_path / "a.tar.gz", whole[: int(len(whole) * kept)])
    with pytest.raises(UserError, match=r"is corrupt or no .tar.gz"):
        archive.unpack(packed, tmp_path / "cache" / "out", WORDS)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    data = bytearray(tar_bytes(tone_files(speakers=3)))
    data[-6] ^= 1  # in gzip's checksum
    with pytest.raises(UserError, match="is corrupt"):
        archive.unpack(_pack(tmp_path / "a.tar.gz", bytes(data)), tmp_path / "out", WORDS)


def test_an_archive_is_kept_under_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    first = from_path(_pack(tmp_path / "a.tar.gz", tar_bytes(tone_files(speakers=1))), WORDS)
    second = from_path(_pack(tmp_path / "a.tar.gz", tar_bytes(tone_files(speakers=2))), WORDS)
    assert first.root != second.root
    assert len(_names(first.root)) < len(_names(second.root))
    assert first.licence == "CC0 1.0"  # the folder says so in its dataset.json
