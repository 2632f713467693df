"""Whatever a user gives that cannot be used is one line that names it and the remedy, and exit code 2."""

import gzip
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from .conftest import QUICK, USUAL, files_of, main, member, numbered, one_line, pack_zip, recording, tar, write_files

# A folder's files, a file's content, the last member of a tar, or what writes an archive.
Given = Mapping[str, bytes] | bytes | tarfile.TarInfo | Callable[[Path], Path]
NAMES = numbered(USUAL, 2)
FILES = files_of(NAMES)
A = NAMES[0]
PAIR = ["go/1.wav", "no/1.wav"]
LISTS = {"validation_list": "go/1.wav", "testing_list": "go/2.wav\nno/1.wav"}
BELOW = r"label 'go' has no clips .*below a word's, read as WORD"


def with_first(name: str, mode: int = 0) -> Given:
    """A ZIP whose first member is this."""
    return lambda path: pack_zip(path, {name: b"/etc/passwd", **FILES}, mode)


def patched(path: Path, at: int, value: int) -> Path:
    """A ZIP with another byte in its first file's entry, in both places."""
    data = bytearray(pack_zip(path, FILES).read_bytes())
    with zipfile.ZipFile(path) as packed:
        data[packed.start_dir + at] = data[packed.infolist()[0].header_offset + at - 2] = value
    path.write_bytes(data)
    return path


DATA: list[tuple[Given, str, str]] = [  # what there is, options of `check`, what it says
    ({}, "", r"has no words; it holds no recordings; give a folder of recordings a word"),
    (files_of(["1.wav"]), "", r"has no words; recordings in no word's folder are left out: '1.wav'; give"),
    (files_of(["go/1.m4a", "no/1.m4a"]), "", r"has no words; recordings that are not read: 1 .m4a in go, .*`ffmpeg"),
    (files_of(["go/1.wav"]), "", r"has the one word 'go' and nothing to tell it from"),
    (files_of([*PAIR, "yes/1.m4a"]), "--labels go,yes", r"label 'yes' has no clips .*\(it has go, no\).*1 .m4a"),
    (files_of(["ann/go/1.wav", "ben/go/1.wav"]), "--labels go", BELOW),
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
    (b"Rar!" + b"x" * 600, "", "is a RAR archive"),
    (b"", "", "is an empty file; give a folder"),
    (tarfile.NUL * 10240, "", "has no words; it holds no recordings"),
    (partial(patched, at=8, value=1), "", r"is not read here \(.*encrypted.*\); unpack it"),
    (partial(patched, at=10, value=9), "", r"is not read here \(.*not supported.*\); unpack it"),
    (member("up/evil.wav", tarfile.SYMTYPE, "/etc/passwd"), "", "member 'up/evil.wav' leads out of it"),
    (member("up/evil.wav", tarfile.LNKTYPE, "../../etc/passwd"), "", "member 'up/evil.wav' leads out of it"),
    (member("up/evil.wav", tarfile.CHRTYPE), "", "member 'up/evil.wav' is a device"),
    *((member(f"{out}up/evil.wav"), "", f"member '{out}up/evil.wav' leads out") for out in ("../", "/tmp/")),  # noqa: S108
    (member("..\\up\\evil.wav"), "", "leads out"),
    *((member(f"{dot}{A}"), "", f"'{dot}{A}' would become the same file as '{A}'") for dot in ("", "./")),
    (member(A.replace("/", "\\")), "", f"would become the same file as '{A}'"),
    (with_first("../evil.wav"), "", "evil.wav' leads out"),
    (with_first("up/evil.wav", stat.S_IFLNK | 0o777), "", "evil.wav' leads out"),
    (with_first("up/evil.wav", stat.S_IFIFO), "", "evil.wav' is a device"),
]


@pytest.mark.parametrize(("given", "options", "message"), DATA, ids=[message for *_, message in DATA])
def test_what_is_no_data_set(own_cache: Path, tmp_path: Path, given: Given, options: str, message: str) -> None:
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *((option, option.split()[0]) for option in ("--epochs many", "--no-such-option")),
        ("--threads -1", "--threads -1 is out of range; give 0 to 1024"),
        ("--profile magic", "--profile 'magic' is unknown; choose one of quick, standard, best"),
        ("--labels low,middle", "label 'middle' has no clips in data set 'tones' (it has "),
        ("--dataset speech-commands --dataset-sha256 abc", "--dataset-sha256 'abc' is no SHA-256"),
        *((f"--{name} nowhere", f"--{name} 'nowhere' does not") for name in ("speech", "speech-evaluation")),
        ("--negatives empty", "--negatives 'empty' has no recordings that are read here; give"),
        ("--labels go,no --dataset few", "label 'go' has no clips in the training split of data set"),
        ("--dataset few_test_set", "is a test set: figures of a model that was trained on it say nothing"),
    ],
)
def test_what_cannot_be_trained(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, message: str
) -> None:
    monkeypatch.chdir(write_files(tmp_path, files_of(["few_test_set/low/1.wav", "few_test_set/high/1.wav"])))
    write_files(tmp_path / "few", files_of(["go/1.wav", "go/2.wav", "no/1.wav"], **LISTS))
    write_files(tmp_path / "empty", {})
    assert message in one_line(main("train", *QUICK, "--dataset", tones, "--output", "out", *options.split()))
    assert not Path("out").exists()
