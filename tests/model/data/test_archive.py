"""Archives: every kind that is read gives the same data set, safely and whole, or leaves nothing."""

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zstandard

from model.data import archive
from model.errors import UserError

from ..conftest import USUAL, files_of, member, numbered, opened, pack_zip, recording, tar, told, write_files

pytestmark = pytest.mark.usefixtures("own_cache")
NAMES = numbered(USUAL, 2)
FILES = files_of(NAMES, dataset='{"name": "tones"}')
A = NAMES[0]  # up/00000000_nohash_0.wav
SYM, HARD, LINK = tarfile.SYMTYPE, tarfile.LNKTYPE, stat.S_IFLNK | 0o777


def repacked(compress: Callable[[bytes], bytes], path: Path) -> Path:
    path.write_bytes(compress(tar(path, FILES, mode="w").read_bytes()))
    return path


def two_frames(data: bytes) -> bytes:
    return b"".join(map(zstandard.ZstdCompressor().compress, (data[:20_000], data[20_000:])))


COMPRESS: dict[str, Any] = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
COMPRESS |= {".lzma": partial(lzma.compress, format=lzma.FORMAT_ALONE), ".zst": two_frames}
KINDS: dict[str, Callable[[Path], Path]] = {
    **{f"tar{suffix}": partial(repacked, compress) for suffix, compress in COMPRESS.items()},
    "zip": lambda path: pack_zip(path, FILES),
    "zip of Windows": lambda path: pack_zip(path, {name.replace("/", "\\"): data for name, data in FILES.items()}),
}


@pytest.mark.parametrize("pack", KINDS.values(), ids=KINDS)
def test_every_kind_gives_the_same_data_set(tmp_path: Path, pack: Callable[[Path], Path]) -> None:
    dataset = opened(pack(tmp_path / "archive"))  # by its content, not its name
    found = {clip.name: (dataset.root / clip.name).read_bytes() for clip in dataset.clips}
    assert (found, dataset.name) == ({name: FILES[name] for name in NAMES}, "tones")


CUT = [(kind, share, False) for kind in list(KINDS)[:7] for share in (0.3, 0.995)]
FLIPPED = [("tar", 0.37, True), ("tar.gz", 5 / 6, True), *((kind, 1 / 3, True) for kind in ("tar.bz2", "tar.xz"))]
FLIPPED.append(("zip", 1 / 3, True))


@pytest.mark.parametrize(("kind", "share", "flipped"), CUT + FLIPPED)  # a bit, where there is a checksum
def test_a_damaged_archive_is_refused_and_leaves_nothing(
    tmp_path: Path, own_cache: Path, kind: str, share: float, flipped: bool
) -> None:
    data = bytearray(KINDS[kind](tmp_path / "d").read_bytes())
    at = int(len(data.rstrip(b"\0")) * share)
    if flipped:
        data[at] ^= 1
    else:
        del data[at:]
    (tmp_path / "d").write_bytes(data)
    with pytest.raises(UserError, match=r"archive '.*' is truncated or corrupt"):
        opened(tmp_path / "d")
    assert [left.name for left in (own_cache / "unpacked").iterdir() if left.suffix != ".lock"] == []


def test_nothing_is_written_or_removed_through_a_link(tmp_path: Path) -> None:
    outside = write_files(tmp_path / "outside", {"y": b"kept"})
    links = [member("go", SYM, str(outside)), member("go/1.wav", SYM, f"../{A}"), member("go/x/y", SYM, "z")]
    with pytest.raises(UserError, match=r"member 'go/1\.wav' is below a link"):
        opened(tar(tmp_path / "d.tar", FILES, *links))
    opened(tar(tmp_path / "e.tar", {}, links[0], *map(member, (A, "go/2.wav", *NAMES[1:]))))
    chain = [member("go", SYM, "w"), member("w/x", SYM, str(outside)), links[2]]
    opened(tar(tmp_path / "f.tar", FILES, *chain))
    assert [(path.name, path.read_bytes()) for path in outside.iterdir()] == [("y", b"kept")]


def test_what_is_not_wanted_is_passed_over_before_it_is_judged(tmp_path: Path) -> None:
    odd = [member("../README.md"), member("/abs/LICENSE"), member("dev/null", tarfile.CHRTYPE)]
    links = [("notes.txt", "/etc/passwd"), (".git/evil.wav", "/etc/passwd"), ("bin/python", "/usr/bin/python3")]
    path = tar(tmp_path / "d.tar", FILES, *odd, *(member(name, SYM, target) for name, target in links))
    for _ in range(2):  # from the cache as well
        dataset = opened(path)
        assert [clip.name for clip in dataset.clips] == sorted(NAMES)
        assert told(dataset).startswith("1 links lead out of the archive: 'bin/python'; pack what they point to")


STORE = {".store/objects/ab": recording("x"), ".store/words/go/1.wav": recording("y")}
LINKS: dict[str, tuple[list[tarfile.TarInfo], dict[str, str]]] = {
    "hard, written with ./": ([member("./no/h.wav", HARD, f"./{A}")], {"no/h.wav": A}),
    "symbolic, a chain": (
        [member("no/1.wav", SYM, "2.wav"), member("no/2.wav", SYM, f"../{A}")],
        {"no/1.wav": A, "no/2.wav": A},
    ),
    "through a hidden link": (
        [member("no/s.wav", SYM, "../.store/link"), member(".store/link", SYM, "objects/ab")],
        {"no/s.wav": ".store/objects/ab"},
    ),
    "a chain of folders": (
        [member("go", SYM, "w/go"), member("w", SYM, ".store/words")],
        {"go/1.wav": ".store/words/go/1.wav", "w/go/1.wav": ".store/words/go/1.wav"},
    ),
}


@pytest.mark.parametrize("first", [False, True], ids=["after", "before what they point to"])
@pytest.mark.parametrize(("links", "expected"), LINKS.values(), ids=LINKS)
def test_a_link_is_what_it_points_to(
    tmp_path: Path, links: list[tarfile.TarInfo], expected: dict[str, str], first: bool
) -> None:
    files = {**FILES, **STORE}
    dataset = opened(tar(tmp_path / "d.tar", files, *links, first=first))
    assert {clip.name for clip in dataset.clips} == {*NAMES, *expected}
    assert all((dataset.root / link).read_bytes() == files[target] for link, target in expected.items())


def test_links_of_a_zip_and_links_to_nothing(tmp_path: Path) -> None:
    for target, works in ((f"../{A}", True), ("nowhere.wav", False), ("s.wav", False)):
        dataset = opened(pack_zip(tmp_path / "d.zip", {"no/s.wav": target.encode(), **FILES}, LINK))
        assert ("no/s.wav" in {clip.name for clip in dataset.clips}) is works
        assert ("1 recordings are no files but links to nothing, or pipes: 'no/s.wav'" in told(dataset)) is not works


@pytest.mark.parametrize("pack", [tar, pack_zip])
@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("ALWAYS_ALLOWED", 1 << 16, r"MB\) is more than .* unpacked, as no recordings are"),
        ("MAX_MEMBERS", 0, "or 0 members unpacked"),
        ("KEPT_FREE", 1 << 60, "does not fit on the disk of the cache; free some, or set KWS_CACHE"),
    ],
)
def test_a_bomb_is_refused_before_it_fills_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[..., Path], limit: str, value: int, message: str
) -> None:
    monkeypatch.setattr(archive.shutil, "copyfileobj", lambda *_: pytest.fail("written"))
    monkeypatch.setattr(archive, limit, value)
    with pytest.raises(UserError, match=message):
        opened(pack(tmp_path / "d", {"up/zeros.wav": bytes(8 << 20)}))


def test_the_cache_holds_it_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path / "d.tgz", FILES)
    with ThreadPoolExecutor() as pool:  # two runs at once
        one, root = (dataset.root for dataset in pool.map(opened, (path, path)))
    inode = (root / A).stat().st_ino
    assert (one, (opened(path).root / A).stat().st_ino) == (root, inode)  # not unpacked again
    shutil.rmtree(root)
    left = root.with_name(f".{root.name}.killed.tmp")
    left.mkdir()
    assert (opened(path).root / A).read_bytes() == FILES[A]
    assert not left.exists()
    monkeypatch.setattr(archive, "RECIPE", "another")
    assert opened(path).root != root
