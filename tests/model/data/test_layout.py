"""Folders as people have them: words, divisions, lists, speakers, splits, and what is no data."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import Mock

import pytest

from model.data.layout import SPLITS
from model.data.split import official_split
from model.errors import UserError

from ..conftest import USUAL, files_of, numbered, opened, tar, told, write_files

PLAIN = numbered(USUAL, 3)
MANY = numbered(USUAL, 40)
UBER = unicodedata.normalize("NFD", "über")
BOM = "\ufeff"
PAIR = {"go/1": "go", "no/1": "no"}
TOPS = {"train": "training", "val": "validation", "test": "testing"}
DIVIDED = {f"{top}/{word}/1": f"{word} {split}" for top, split in TOPS.items() for word in ("go", "no")}
NOTHING = ""  # no note at all
OTHER_WORDS = "recordings are not in folders of the same words and left out:"
LEFTOVERS = [
    *("._1.wav", "yes/._1.wav", "yes/.hidden.wav", "yes/~$1.wav", "yes/1.wav~", "lost+found/#1.wav", "@eaDir/1.wav"),
    *("__MACOSX/yes/1.wav", "yes/.ipynb_checkpoints/1.wav", ".git/1.wav", ".Trash-1000/1.wav", "yes/Thumbs.db"),
    *("desktop.ini", "yes/.DS_Store", "$RECYCLE.BIN/1.wav", "System Volume Information/1.wav", "__pycache__/1.wav"),
]


def by_rule(names: Iterable[str], *drawn: str, top: str = "") -> dict[str, str]:
    """The recordings below a folder on top, in the splits that the official rule draws for their names."""
    splits = {name: official_split(name) for name in names}
    return {f"{top}{name}": f"* {split if split in drawn else 'training'}" for name, split in splits.items()}


class Row(NamedTuple):
    """What there is, a name without a suffix being a WAV, and what is found there and told."""

    clips: dict[str, str]  # name: its word, split and speaker; *: any
    note: str | None = None
    left_out: Iterable[str] = ()
    settings: Mapping[str, Any] = {}
    texts: Mapping[str, str | bytes] = {}
    rule: str = ""


A, B = "up/00000000_nohash_0.wav", "no/00000001_nohash_0.wav"
LISTED = {**dict.fromkeys(MANY, "* training"), A: "up validation 00000000", B: "no testing 00000001"}
HELD = {split: [name for name in MANY if official_split(name) == split] for split in SPLITS}
ALL_BUT_TWO = {"validation_list": "\n".join(HELD["validation"]), "testing_list": "\n".join(HELD["testing"][2:])}
OFFICIAL = {"bed/1b4c9b89_nohash_0": "bed testing 1b4c9b89", "bed/2ce7534c_nohash_0": "bed validation 2ce7534c"}
OFFICIAL |= {"right/d1a17cbe_nohash_1": "right training", "bed/d1a17cbe_nohash_0.flac": "bed training d1a17cbe"}
BY_SPEAKER, BY_NAME = (f"the {unit} names (SHA-1" for unit in ("speakers'", "recordings'"))


def listed(validation: str | bytes, testing: str | bytes) -> Row:
    """Lists of two recordings, which win over the rule."""
    lists = {"validation_list": validation, "testing_list": testing}
    return Row(LISTED, NOTHING, texts=lists, rule="lists of the data set")


ROWS = {
    "a division": Row(DIVIDED),
    "long names, one more folder": Row(
        {f"{top.title()}/audio/{word}/1": f"{word} {top}" for top in TOPS.values() for word in ("go", "no")}
    ),
    "a division, speakers below the words": Row(
        {f"{top}/go/{who}/1": f"go {split} {who}" for top, split in TOPS.items() for who in ("ann", "ben", "cat")}
        | {"train/a/ann/1": "a training ann"}
    ),
    "a division below the words": Row({f"{name[-4:-2]}/{name[:-5]}/a": text for name, text in DIVIDED.items()}),
    "a word that is called test": Row({"test/1": "test", "go/1": "go", "stop/1": "stop"}),
    "speakers": Row({"go/ann/1": "go * ann", "no/ann/1": "no * ann", "go/ben/1": "go * ben", "go/cat/x/1": "go * cat"}),
    "too few folders to be speakers": Row({"go/wavs/1": "go", "stop/wavs/1": "stop"}, "too few to be speakers: 'wavs'"),
    "classes": Row({"yes/1": "yes", "no/1": "*", "_unknown_/bed/1": "_unknown_", "_silence_/1": "_silence_"}),
    "classes by plainer names": Row({"yes/1": "*", "no/1": "*", "Unknown/1": "_unknown_", "silence/1": "_silence_"}),
    "a keyword called silence": Row({**PAIR, "silence/1": "silence"}, settings={"labels": ("silence", "go")}),
    "a pattern for speakers": Row(
        {"yes/yes_anna_3": "yes * anna", "no/no_anna_3": "no * anna", "yes/odd": "yes"},
        settings={"speaker_pattern": "_([a-z]+)_"},
    ),
    "capitals": Row({"Yes/1": "yes", "yes/2": "yes", "NO/1": "no", "Up/1": "up", "down/1": "down"}),
    "decomposed characters": Row({f"{UBER}/1": "über", "no/1": "no"}, settings={"labels": ("über", "no")}),
    "a decomposed label": Row({"über/1": "über", "no/1": "no"}, settings={"labels": (UBER, "no")}),
    "folders beside a division": Row(DIVIDED, f"2 {OTHER_WORDS} 'extra', 'old'", ["extra/x", "old/audio/c"]),
    "no words below test": Row({f"train/{name}": "*" for name in PAIR}, f"1 {OTHER_WORDS} 'test'", ["test/a/1"]),
    "a word with few clips": Row(dict.fromkeys([*PLAIN, "scripts/demo"], "*"), "with few clips: scripts (1)"),
    "own words": Row({**PAIR, "_unknown_/1": "*"}, "the keywords are all words of the data set: go, no; --labels"),
    "what systems and editors leave behind": Row(dict.fromkeys(PLAIN, "*"), NOTHING, LEFTOVERS),
    "formats": Row(
        dict.fromkeys((f"yes/1{suffix}" for suffix in (".WAV", ".Flac", ".ogg", ".mp3", ".opus", ".au", ".")), "yes")
        | {"no/1": "no"},
        "not read: 30 .m4a in yes, 1 .webm in no; convert them with `ffmpeg",
        [*(f"yes/{number}.m4a" for number in range(30)), "no/1.WEBM", "no/notes.txt"],
    ),
    "names that are no UTF-8": Row(
        PAIR,
        "2 names are not in UTF-8 and left out: 'go/\\xfcber.wav', '\\xfcber/1.wav'; rename",
        [os.fsdecode(b"go/\xfcber.wav"), os.fsdecode(b"\xfcber/1.wav")],
    ),
    "the official rule": Row(by_rule(MANY, "validation", "testing") | OFFICIAL, rule=BY_SPEAKER),
    "lists": listed(f"{A}\n\n", f"{B}\r\n"),
    "lists with byte order marks": listed(f"{BOM}{A}\n", f"{BOM}{B}\n"),
    "lists in UTF-16": listed(f"{A}\n".encode("utf-16"), f"{B}\n".encode("utf-16")),
    "lists with other folders in front": listed(f"./{A}", f"/data/audio/{B}"),
    "lists with backslashes": Row(LISTED, NOTHING, texts={"Validation_LIST": A.replace("/", "\\"), "TESTING_list": B}),
    "lists below others": listed(A, B)._replace(
        note="not used, for there is another of the name: 'up/testing_list.txt'", left_out=["up/testing_list.txt"]
    ),
    "lists of another format": listed(A.replace(".wav", ".flac"), B.removesuffix(".wav")),
    "lines that name no recording": Row(
        LISTED,
        "2 of 3 lines of validation_list.txt name no recording: 'up/gone.wav'",
        texts={"validation_list": f"{A}\nup/gone.wav\nup/away.wav\n", "testing_list": B},
    ),
    "official lists that lack some": Row(
        dict.fromkeys(MANY, "*") | dict.fromkeys(HELD["testing"][:2], "* training"),
        "2 recordings are in no list, so they are trained on, though the official rule",
        texts=ALL_BUT_TWO,
    ),
    "a list without the other": Row(
        {**by_rule(MANY, "validation"), A: "up testing", B: "no testing"},
        texts={"testing_list": f"{A}\n{B}"},
        rule=f"lists of the data set; validation drawn from the rest by {BY_SPEAKER}",
    ),
    **{
        f"a division without {lacks}": Row(
            by_rule(MANY, lacks, top="train/") | {f"{there}/{name}": f"* {TOPS[there]}" for name in MANY},
            f"no recordings for {lacks}",
            rule=f"folders of the data set; {lacks} drawn from the rest by {BY_SPEAKER}",
        )
        for lacks, there in (("validation", "test"), ("testing", "val"))
    },
    **{
        f"no speakers in names like {form}": Row(
            by_rule(numbered(USUAL, 100, form), "validation", "testing"),
            "and 399 more), so the test figure does not hold for new voices: make a folder a speaker below",
            rule=BY_NAME,
        )
        for form in ("{word}/{number:04d}.wav", "{word}/ann-{word}-{number}.wav")
    },
}


def wav(name: str) -> str:
    return name if "." in name else f"{name}.wav"


def wrapped(path: Path, files: dict[str, bytes]) -> Path:
    return write_files(path, {f"pack/{name}": data for name, data in files.items()})


@pytest.mark.parametrize("pack", [write_files, wrapped, tar], ids=["folder", "wrapped", "archive"])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_is_found_and_told(tmp_path: Path, row: Row, pack: Any) -> None:
    clips = {wav(name): text for name, text in row.clips.items()}
    others = [*map(wav, row.left_out), "_background_noise_/n.wav"]
    dataset = opened(pack(tmp_path / "d", files_of([*clips, *others], **row.texts)), **row.settings)
    found = {clip.name.removeprefix("pack/"): clip for clip in dataset.clips}
    assert found.keys() == clips.keys()
    for name, text in clips.items():
        wanted, clip = [*text.split(), "*", "*"][:3], found[name]
        there = clip.word, clip.split, clip.speaker
        assert wanted == ["*" if one == "*" else two for one, two in zip(wanted, there, strict=True)]
    notes = told(dataset).replace("pack/", "")
    assert row.note is None or (row.note in notes and (row.note or not notes))
    assert dataset.split_rule.startswith(row.rule)
    assert dataset.speakers_known is ("does not hold for new voices" not in notes)
    assert [name.removeprefix("pack/") for name in dataset.noise] == ["_background_noise_/n.wav"]


@pytest.mark.parametrize("form", ["{word}/{number}.wav", "{word}/{number}/1.wav", "{word}/{number:08x}_nohash_0.wav"])
@pytest.mark.parametrize("count", [3, 5, 12])
def test_few_recordings_or_speakers_fill_every_split_all_the_same(tmp_path: Path, form: str, count: int) -> None:
    dataset = opened(write_files(tmp_path, files_of(numbered(("go", "stop", "left"), count, form))))
    counts = Counter((clip.word, clip.split) for clip in dataset.clips)
    assert all(counts[word, split] for word in dataset.labels for split in SPLITS)
    speakers = {split: {clip.speaker for clip in dataset.of_split(split)} - {""} for split in SPLITS}
    assert not speakers["training"] & speakers["testing"]


def test_a_folder_of_links_works_and_dangling_ones_are_counted(tmp_path: Path) -> None:
    store = write_files(tmp_path / "store", files_of(PLAIN))
    root = tmp_path / "links"
    (root / "up").mkdir(parents=True)
    (root / "empty").mkdir()
    for path in (store / "up").iterdir():
        (root / "up" / path.name).symlink_to(path)
    for word in USUAL[1:]:
        (root / word).symlink_to(store / word)
    for name, target in (("gone.wav", tmp_path / "nowhere"), ("circle", root), ("self.wav", "self.wav")):
        (root / "up" / name).symlink_to(target)
    os.mkfifo(root / "up" / "pipe.wav")
    dataset = opened(root)
    assert [clip.name for clip in dataset.clips] == sorted(PLAIN)
    assert "3 recordings are no files but links to nothing, or pipes: 'up/gone.wav', 'up/pipe.wav'" in told(dataset)
    assert "1 folders are empty: 'empty'" in told(dataset)


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that root may run as well; which of the two functions counts is Python's to choose."""
    for lists in ("listdir", "scandir"):
        monkeypatch.setattr(os, lists, Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(UserError, match=r"folder '.*' cannot be read \(permission denied\); change its rights"):
        opened(tmp_path)


def test_the_data_set_s_own_word_of_itself(tmp_path: Path) -> None:
    for licence, coding in ((b'"CC0 1.0"', "utf-8-sig"), (b"null", "utf-16")):
        info = f'{{"name": "tones", "licence": {licence.decode()}}}'.encode(coding)
        dataset = opened(write_files(tmp_path, files_of(PLAIN, dataset=info)))
        assert (dataset.name, dataset.attribution, dataset.labels) == ("tones", "", USUAL)
        assert dataset.licence == licence.decode().strip('"').replace("null", "")
    assert opened(tmp_path, licence=" MIT ", attribution="me").licence == "MIT"
