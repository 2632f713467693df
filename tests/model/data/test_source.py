"""What ``--dataset`` names: archives of every kind, safely and whole, and one line about what is no data set."""

import bz2
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zstandard

from model.data import archive
from model.errors import UserError

from ..conftest import USUAL, files_of, main, member, numbered, one_line, opened, pack_zip, recording, tar, write_files

pytestmark = pytest.mark.usefixtures("own_cache")
NAMES = numbered(USUAL, 2)
FILES = files_of(NAMES, dataset='{"name": "tones"}')
A = NAMES[0]  # up/00000000_nohash_0.wav
SYM, HARD, LINK = tarfile.SYMTYPE, tarfile.LNKTYPE, stat.S_IFLNK | 0o777


def repacked(compress: Callable[[bytes], bytes], path: Path) -> Path:
    path.write_bytes(compress(tar(path, FILES, mode="w").read_bytes()))
    return path


COMPRESS: dict[str, Any] = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
COMPRESS[".lzma"] = partial(lzma.compress, format=lzma.FORMAT_ALONE)
COMPRESS[".zst"] = lambda data: zstandard.compress(data[:9_000]) + zstandard.compress(data[9_000:])  # two frames
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
FLIPPED = [("tar", 0.37, True), ("tar.gz", 5 / 6, True)]
FLIPPED += [(kind, 1 / 3, True) for kind in ("tar.bz2", "tar.xz", "zip")]


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
        assert dataset.notes[0].startswith("1 links lead out of the archive: 'bin/python'; pack what they point to")


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
def test_a_link_is_what_it_points_to(tmp_path: Path, links: Any, expected: dict[str, str], first: bool) -> None:
    files = {**FILES, **STORE}
    dataset = opened(tar(tmp_path / "d.tar", files, *links, first=first))
    assert {clip.name for clip in dataset.clips} == {*NAMES, *expected}
    assert all((dataset.root / link).read_bytes() == files[target] for link, target in expected.items())


def test_links_of_a_zip_and_links_to_nothing(tmp_path: Path) -> None:
    for target, works in ((f"../{A}", True), ("nowhere.wav", False), ("s.wav", False)):
        dataset = opened(pack_zip(tmp_path / "d.zip", {"no/s.wav": target.encode(), **FILES}, {"no/s.wav": LINK}))
        assert ("no/s.wav" in {clip.name for clip in dataset.clips}) is works
        dangling = "1 recordings are no files but links to nothing, or pipes: 'no/s.wav'"
        assert any(note.startswith(dangling) for note in dataset.notes) is not works


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
    (left := root.with_name(f".{root.name}.killed.tmp")).mkdir()
    assert (opened(path).root / A).read_bytes() == FILES[A]
    assert not left.exists()
    monkeypatch.setattr(archive, "RECIPE", "another")
    assert opened(path).root != root


# A folder's files, a file's content, the last member of a tar, or what writes an archive.
Given = Mapping[str, bytes] | bytes | tarfile.TarInfo | Callable[[Path], Path]
PAIR = ["go/1.wav", "no/1.wav"]


def with_first(name: str, mode: int = 0) -> Given:
    """A ZIP whose first member is this."""
    return lambda path: pack_zip(path, {name: b"/etc/passwd", **FILES}, {name: mode})


def patched(path: Path, at: int, value: int) -> Path:
    """A ZIP with another byte in its first file's entry, in both places."""
    data = bytearray(pack_zip(path, FILES).read_bytes())
    with zipfile.ZipFile(path) as packed:
        data[packed.start_dir + at] = data[packed.infolist()[0].header_offset + at - 2] = value
    path.write_bytes(data)
    return path


def misnamed(path: Path) -> Path:
    path.write_bytes(pack_zip(path, {"up/ü.wav": b""}).read_bytes().replace("ü".encode(), b"\xfc\xfc"))
    return path


DATA: list[tuple[Given, str, str]] = [  # what there is, options of `check`, what it says
    ({}, "", r"has no words; it holds no recordings; give a folder of recordings a word"),
    (files_of(["1.wav"]), "", r"has no words; recordings in no word's folder are left out: '1.wav'; give"),
    (files_of(["go/1.m4a", "no/1.m4a"]), "", r"has no words; recordings that are not read: 1 .m4a in go, .*`ffmpeg"),
    (files_of(["go/1.wav"]), "", r"has the one word 'go' and nothing to tell it from"),
    (files_of([*PAIR, "yes/1.m4a"]), "--labels go,yes", r"label 'yes' has no clips .*\(it has go, no\).*1 .m4a"),
    (files_of(["ann/go/1.wav", "ben/go/1.wav"]), "--labels go", "'go' has no clips .*below a word's, read as WORD"),
    (FILES, "--speaker-pattern (", r"--speaker-pattern '\(' is no regular expression"),
    (FILES, "--speaker-pattern ^nobody", r"--speaker-pattern '\^nobody' matches no recording, '0000\w+.wav' say"),
    (FILES, "--dataset nowhere", "'nowhere' does not exist; give a folder, an archive, speech-commands or synthetic"),
    (FILES, "--dataset https://host/a.tar.gz", "does not exist; .* an address is for --dataset-url"),
    (FILES, "--dataset /dev/null", "is no file; give a folder, an archive"),
    (FILES, "--labels up,up", "--labels 'up,up' names a word twice; name each once"),
    *((FILES, f"--labels up,{name}", "cannot be the name") for name in ("../down", "_down", ".up", "a\\b", "a\nb")),
    (files_of(PAIR, dataset="{"), "", r"dataset.json' is not JSON \(.*; restore or remove it"),
    (files_of(PAIR, dataset="[]"), "", "dataset.json' is not a JSON object"),
    (files_of(PAIR, dataset=b"\xfc\xff\xfe"), "", "dataset.json' is not a text file in UTF-8"),
    (files_of(PAIR, validation_list=b"\x80"), "", "validation_list.txt' is not a text file in UTF-8"),
    (files_of(NAMES, validation_list=A, testing_list=A), "", f"'{A}' is listed for validation and for testing"),
    (b"7z\xbc\xaf\x27\x1c" + b"x" * 600, "", "is a 7z archive; unpack it with `bsdtar -xf .*/d` and give the folder"),
    (b"PAR1" + b"x" * 600, "", "is a Parquet file; write its recordings into a folder a word"),
    (b"<!DOCTYPE html><title>404", "", "is HTML or XML; give a folder"),
    (b"version https://git-lfs.github.com/spec/v1\n", "", "is a Git LFS pointer in its place; .*lfs pull"),
    (recording("a"), "", "is of no kind that is read here; give a folder with a folder of recordings a word"),
    (gzip.compress(recording("a")), "", "is truncated or corrupt .no tar is in it.; fetch or pack it again"),
    (b"", "", "is an empty file; give a folder"),
    (tarfile.NUL * 10240, "", "has no words; it holds no recordings"),
    (partial(patched, at=8, value=1), "", r"is not read here \(.*encrypted.*\); unpack it"),
    (partial(patched, at=10, value=9), "", r"is not read here \(.*not supported.*\); unpack it"),
    (misnamed, "", "is truncated or corrupt .*utf-8.*; fetch or pack it again"),
    (member("up/evil.wav", tarfile.SYMTYPE, "/etc/passwd"), "", "member 'up/evil.wav' leads out of it"),
    (member("up/evil.wav", tarfile.LNKTYPE, "../../etc/passwd"), "", "member 'up/evil.wav' leads out of it"),
    (member("up/evil.wav", tarfile.CHRTYPE), "", "member 'up/evil.wav' is a device"),
    *((member(f"{out}up/evil.wav"), "", f"member '{out}up/evil.wav' leads out") for out in ("../", "/tmp/")),  # noqa: S108
    (member("..\\up\\evil.wav"), "", "leads out"),
    *((member(f"{dot}{A}"), "", f"'{dot}{A}' would become the same file as '{A}'") for dot in ("", "./")),
    *((member(name), "", f"would become the same file as '{A}'") for name in (A.replace("/", "\\"), f"{A}/1.wav")),
    (lambda path: tar(path, files_of(["a.wav/1.wav"]), member("a.wav"), mode="w"), "", "'a.wav' has the name of a fo"),
    (with_first("../evil.wav"), "", "evil.wav' leads out"),
    (with_first("up/evil.wav", stat.S_IFLNK | 0o777), "", "evil.wav' leads out"),
    (with_first("up/evil.wav", stat.S_IFIFO), "", "evil.wav' is a device"),
]


@pytest.mark.parametrize(("given", "options", "message"), DATA, ids=[message for *_, message in DATA])
def test_what_is_no_data_set(tmp_path: Path, given: Given, options: str, message: str) -> None:
    path = tmp_path / "d"
    if callable(given):
        given(path)
    elif isinstance(given, bytes):
        path.write_bytes(given)
    elif isinstance(given, tarfile.TarInfo):
        tar(path, FILES, given, mode="w")
    else:
        write_files(path, given)
    where = [] if options.startswith("--dataset") else [path]
    assert re.search(message, one_line(main("check", *where, *filter(None, options.split(" ")))))
    assert not list(tmp_path.rglob("evil.wav"))
