"""Archives: every kind that is read gives the same data set, safely and whole, or a line says what it is."""

import bz2
import gzip
import io
import json
import lzma
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from model.data import archive
from model.data.source import cache_root
from model.errors import UserError

from .conftest import USUAL, files_of, member, numbered, opened, pack_zip, recording, tar, told, write

NAMES = numbered(USUAL, 2)
FILES = files_of(NAMES, dataset='{"name": "tones"}')
SYM, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE


def names_of(path: Path) -> list[str]:
    return [clip.name for clip in opened(path).clips]


def zstd(path: Path) -> Path:
    data = tar(path, FILES, mode="w").read_bytes()
    half = len(data) // 2  # two frames
    path.write_bytes(b"".join(map(zstandard.ZstdCompressor().compress, (data[:half], data[half:]))))
    return path


def legacy_lzma(path: Path) -> Path:
    path.write_bytes(lzma.compress(tar(path, FILES, mode="w").read_bytes(), lzma.FORMAT_ALONE))
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "tar": lambda path: tar(path, FILES, mode="w"),
    "tar.gz": lambda path: tar(path, FILES),
    "tar.bz2": lambda path: tar(path, FILES, mode="w:bz2"),
    "tar.xz": lambda path: tar(path, FILES, mode="w:xz"),
    "tar.lzma": legacy_lzma,
    "tar.zst": zstd,
    "zip": lambda path: pack_zip(path, FILES),
    "zip of Windows": lambda path: pack_zip(path, {name.replace("/", "\\"): data for name, data in FILES.items()}),
    "wrapped": lambda path: tar(path, {f"./data_v1/{name}": data for name, data in FILES.items()}),
}


@pytest.mark.parametrize("pack", KINDS.values(), ids=KINDS)
def test_every_kind_gives_the_same_data_set(tmp_path: Path, pack: Callable[[Path], Path]) -> None:
    dataset = opened(pack(tmp_path / "archive"))  # by its content, not its name
    assert [clip.name.removeprefix("data_v1/") for clip in dataset.clips] == sorted(NAMES)
    assert all(
        (dataset.root / clip.name).read_bytes() == FILES[clip.name.removeprefix("data_v1/")] for clip in dataset.clips
    )
    assert dataset.name == "tones"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"7z\xbc\xaf\x27\x1c" + b"x" * 600, "is a 7z archive, which is not read here; unpack it with `7z x -oDATA d`"),
        (b"Rar!\x1a\x07\x01" + b"x" * 600, "is a RAR archive.*`unrar x d`"),
        (b"\x04\x22\x4d\x18" + b"x" * 600, "is an LZ4 file"),
        (b"PAR1" + b"x" * 600, "is a Parquet file; write its recordings into a folder a word"),
        (b"<!DOCTYPE html><title>404", "is HTML or XML; give a folder"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a Git LFS pointer in place of the archive; .*git lfs pull",
        ),
        (recording("a"), "is one recording; give a folder of recordings a word"),
        (gzip.compress(recording("a")), "is compressed, but no archive"),
        (bz2.compress(b"7z\xbc\xaf\x27\x1c"), "is a 7z archive"),
        (b"", "is an empty file; fetch it again"),
        (b"x" * 600, "is no archive that is known here; give a folder, or a .tar.gz or .zip of one"),
        (tarfile.NUL * 10240, "has no words; it holds no recordings"),
    ],
)
def test_what_is_no_archive_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = write(tmp_path, {"d": data}) / "d"
    with pytest.raises(UserError, match=message):
        opened(path)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("wrapped", "zip of Windows")])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.995])
def test_a_truncated_archive_is_refused_and_leaves_nothing(
    tmp_path: Path, kind: str, kept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    path = KINDS[kind](tmp_path / "d")
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0")) if kind == "tar" else len(whole)  # between the last member and the end as well
    path.write_bytes(whole[: int(end * kept) if kept < 0.9 or kind != "tar" else -(-end // 512) * 512])
    with pytest.raises(UserError, match=r"archive '.*' is truncated or corrupt"):
        opened(path)
    assert [left.name for left in (tmp_path / "cache/unpacked").iterdir() if left.suffix != ".lock"] == []


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    for kind in ("tar.gz", "tar.bz2", "tar.xz", "zip"):
        path = KINDS[kind](tmp_path / "d")
        data = bytearray(path.read_bytes())
        data[5 * len(data) // 6 if kind == "tar.gz" else len(data) // 3] ^= 1
        path.write_bytes(data)
        with pytest.raises(UserError, match="is truncated or corrupt"):
            opened(path)


UNSAFE = {
    "a link out": (member("up/evil.wav", SYM, "/etc/passwd"), "member 'up/evil.wav' leads out of it"),
    "a hard link out": (member("up/evil.wav", HARD, "../../etc/passwd"), "member 'up/evil.wav' leads out of it"),
    "a link out through a folder": (member("up/evil.wav", SYM, "../../up/a.wav"), "member 'up/evil.wav' leads out"),
    "a pipe": (member("up/evil.wav", tarfile.FIFOTYPE), "member 'up/evil.wav' is a device"),
    "a device": (member("up/evil.wav", tarfile.CHRTYPE), "member 'up/evil.wav' is a device"),
    "a name out": (member("../up/evil.wav"), "member '../up/evil.wav' leads out"),
    "an absolute name": (member("/tmp/up/evil.wav"), "member '/tmp/up/evil.wav' leads out"),  # noqa: S108
    "a name out from within": (member("up/../../evil.wav"), "leads out"),
    "a name out with backslashes": (member("..\\up\\evil.wav"), "leads out"),
}


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    links = [member("go", SYM, str(outside)), member("go/1.wav", SYM, f"../{A}"), member("go/x/y", SYM, "z")]
    with pytest.raises(UserError, match=r"member 'go/1\.wav' is below a link"):
        opened(tar(tmp_path / "d.tar", FILES, *links))
    opened(tar(tmp_path / "d.tar", {**FILES, "go/2.wav": recording("2")}, member("go", SYM, str(outside)), first=True))
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(("info", "message"), UNSAFE.values(), ids=UNSAFE)
def test_an_unsafe_member_is_refused_by_name(tmp_path: Path, info: tarfile.TarInfo, message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened(tar(tmp_path / "d.tar", FILES, info))
    assert not list(tmp_path.rglob("evil.wav"))
    assert not list(cache_root().rglob("evil.wav"))


def test_an_unsafe_member_of_a_zip_is_refused(tmp_path: Path) -> None:
    for name, mode in (("../evil.wav", 0), ("up/evil.wav", stat.S_IFLNK | 0o777), ("up/evil.wav", stat.S_IFIFO)):
        with pytest.raises(UserError, match=r"evil.wav' (leads out|is a device)"):
            opened(pack_zip(tmp_path / "d.zip", {name: b"/etc/passwd", **FILES}, n0=mode))


def test_what_is_not_wanted_is_passed_over_before_it_is_judged(tmp_path: Path) -> None:
    odd = [
        *(member("../README.md"), member("dev/null", tarfile.CHRTYPE), member("notes.txt", SYM, "/etc/passwd")),
        *(
            member("/abs/LICENSE"),
            member(".git/evil.wav", SYM, "/etc/passwd"),
            member("bin/python", SYM, "/usr/bin/python3"),
        ),
    ]
    dataset = opened(tar(tmp_path / "d.tar", FILES, *odd))
    assert [clip.name for clip in dataset.clips] == sorted(NAMES)
    assert dataset.notes[:1] == ("1 links lead out of the archive: 'bin/python'; pack what they point to (`tar -h`)",)


A = NAMES[0]  # up/00000000_nohash_0.wav
STORE = {".store/objects/ab": recording("x"), ".store/words/go/1.wav": recording("y")}
LINKS: dict[str, tuple[list[tarfile.TarInfo], dict[str, str]]] = {
    "hard": ([member("no/h.wav", HARD, A)], {"no/h.wav": A}),
    "hard, written with ./": ([member("./no/h.wav", HARD, f"./{A}")], {"no/h.wav": A}),
    "symbolic": ([member("up/s.wav", SYM, Path(A).name)], {"up/s.wav": A}),
    "up and down again": ([member("no/s.wav", SYM, f"../{A}")], {"no/s.wav": A}),
    "a chain": ([member("no/1.wav", SYM, "2.wav"), member("no/2.wav", SYM, f"../{A}")], {"no/1.wav": A, "no/2.wav": A}),
    "to a hidden store": ([member("no/s.wav", SYM, "../.store/objects/ab")], {"no/s.wav": ".store/objects/ab"}),
    "through a hidden link": (
        [member("no/s.wav", SYM, "../.store/link"), member(".store/link", SYM, "objects/ab")],
        {"no/s.wav": ".store/objects/ab"},
    ),
    "a folder": ([member("go", SYM, ".store/words/go")], {"go/1.wav": ".store/words/go/1.wav"}),
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
    dataset = opened(tar(tmp_path / "d.tgz", files, *links, first=first))
    assert {clip.name for clip in dataset.clips} == {*NAMES, *expected}
    for link, target in expected.items():
        assert (dataset.root / link).read_bytes() == files[target]


def test_links_of_a_zip_and_links_to_nothing(tmp_path: Path) -> None:
    files = {"no/s.wav": f"../{A}".encode(), "no/gone.wav": b"nowhere.wav", "no/c.wav": b"c.wav", **FILES}
    link = stat.S_IFLNK | 0o777
    dataset = opened(pack_zip(tmp_path / "d.zip", files, n0=link, n1=link, n2=link))
    assert {clip.name for clip in dataset.clips} == {*NAMES, "no/s.wav"}
    assert "2 recordings are no files but links to nothing, or pipes: 'no/c.wav' and 1 more" in told(dataset)
    assert opened(tmp_path / "d.zip").notes == dataset.notes  # from the cache as well


@pytest.mark.parametrize(
    ("first", "second"),
    [(A, A), (f"./{A}", A), ("up//x.wav", "up/x.wav"), ("up/x.wav", "up\\x.wav"), ("up/x.m4a", "up/x.m4a")],
)
def test_two_members_that_would_become_one_clip_are_an_error_that_names_both(
    tmp_path: Path, first: str, second: str
) -> None:
    with tarfile.open(tmp_path / "d.tar", "w") as packed:
        for name in (first, second):
            packed.addfile(member(name), io.BytesIO())
    with pytest.raises(UserError, match=r"members .* and .* would become the same file") as error:
        opened(tmp_path / "d.tar")
    assert f"'{first}' and '{second}'" in str(error.value)


def test_an_encrypted_zip_is_named(tmp_path: Path) -> None:
    path = pack_zip(tmp_path / "d.zip", FILES)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as packed:
        central = packed.start_dir
    data[central + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="is encrypted; unpack it with its password"):
        opened(path)


def test_a_method_that_is_not_known_is_named(tmp_path: Path) -> None:
    path = pack_zip(tmp_path / "d.zip", FILES)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as packed:
        data[packed.start_dir + 10] = data[packed.infolist()[0].header_offset + 8] = 9  # Deflate64
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"is packed in a way not read here .*unpack it and give the folder"):
        opened(path)


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(archive, "ALWAYS_ALLOWED", 1 << 16)
    zeros = {"up/zeros.wav": bytes(8 << 20)}
    written = []
    monkeypatch.setattr(archive.shutil, "copyfileobj", lambda *_: written.append(1))
    for path in (tar(tmp_path / "d.tgz", zeros), pack_zip(tmp_path / "d.zip", zeros)):
        with pytest.raises(UserError, match=r"MB\) is more than .* unpacked, as no recordings are"):
            opened(path)
    assert written == []
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    with pytest.raises(UserError, match="or 3 members unpacked"):
        opened(tar(tmp_path / "many.tgz", dict.fromkeys("abcd", b"")))


def test_an_archive_that_the_disk_cannot_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(archive, "KEPT_FREE", 1 << 60)
    with pytest.raises(UserError, match="does not fit on the disk of the cache; free some, or set KWS_CACHE"):
        opened(tar(tmp_path / "d.tgz", FILES))


def test_the_cache_holds_it_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    path = tar(tmp_path / "d.tgz", FILES)
    root = opened(path).root
    inode = (root / A).stat().st_ino
    left = root.with_name(f".{root.name}.killed.tmp")
    left.mkdir()
    assert opened(path).root == root
    assert (root / A).stat().st_ino == inode  # not unpacked again
    (root / ".complete").unlink()  # as after a kill
    (root / A).write_bytes(b"")
    assert (opened(path).root / A).read_bytes() == FILES[A]
    assert not left.exists()
    monkeypatch.setattr(archive, "RECIPE", "another")
    assert opened(path).root != root


def test_two_processes_at_once(tmp_path: Path) -> None:
    path = tar(tmp_path / "d.tgz", files_of(numbered(USUAL, 40)))
    code = (
        "import sys; from dataclasses import replace; from model.settings import Settings\n"
        "from model.data.source import open_dataset\n"
        "print(len(open_dataset(replace(Settings(), dataset=sys.argv[1])).clips))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[0].splitlines()[-1] for process in running] == [b"160", b"160"]


@pytest.mark.real_data
def test_the_shared_subset_is_known_by_its_digest(shared_subset: Path) -> None:
    dataset = opened(shared_subset)
    assert (dataset.name, dataset.licence) == ("Speech Commands v0.01, a subset", "CC BY 4.0")
    assert "Pete Warden" in dataset.attribution
    assert json.loads((dataset.root / ".complete").read_text()) == []
