"""Splits and speakers: the official rule, lists, and what small or nameless data sets get."""

from collections import Counter
from pathlib import Path

import pytest

from model.data.layout import SPLITS
from model.data.split import official_split
from model.errors import UserError

from ..conftest import USUAL, files_of, numbered, opened, told, write_files

PLAIN = numbered(USUAL, 40)
BOM = "\ufeff"


def test_the_official_rule_gives_the_official_lists() -> None:
    for name, split in (  # from the lists of the official archive
        ("bed/1b4c9b89_nohash_0.wav", "testing"),
        ("bed/2ce7534c_nohash_0.wav", "validation"),
        ("right/d1a17cbe_nohash_1.wav", "training"),
        ("bed/d1a17cbe_nohash_0.flac", "training"),
    ):
        assert official_split(name) == split


def test_without_lists_the_official_rule_decides(tmp_path: Path) -> None:
    dataset = opened(write_files(tmp_path, files_of(PLAIN)))
    assert dataset.split_rule == "the speakers' names (SHA-1, the official rule)"
    assert all(clip.split == official_split(clip.name) for clip in dataset.clips)
    assert {clip.speaker for clip in dataset.clips} == {f"{number:08x}" for number in range(40)}
    assert dataset.speakers_known


A, B, C = "up/00000000_nohash_0.wav", "no/00000001_nohash_0.wav", "yes/00000002_nohash_0.wav"
LISTS = {
    "plain": (f"{A}\n\n", f"{B}\r\n"),
    "byte order marks": (f"{BOM}{A}\n", f"{BOM}{B}\n"),
    "UTF-16": (f"{A}\n".encode("utf-16"), f"{B}\n".encode("utf-16")),
    "other folders in front": (f"./{A}", f"/data/audio/{B}"),
    "backslashes": (A.replace("/", "\\"), B),
    "another format": (A.replace(".wav", ".flac"), B.removesuffix(".wav")),
}


@pytest.mark.parametrize("wrap", ["", "pack/"])
@pytest.mark.parametrize(("validation", "testing"), LISTS.values(), ids=LISTS)
def test_lists_win_over_the_rule(tmp_path: Path, validation: str | bytes, testing: str | bytes, wrap: str) -> None:
    files = files_of(PLAIN, validation_list=validation, testing_list=testing)
    dataset = opened(write_files(tmp_path, {wrap + name: data for name, data in files.items()}))
    held = [(clip.name.removeprefix(wrap), clip.split) for clip in dataset.clips if clip.split != "training"]
    assert held == [(B, "testing"), (A, "validation")]
    assert (dataset.split_rule, dataset.notes) == ("lists of the data set", ())


HELD = {split: [name for name in PLAIN if official_split(name) == split] for split in SPLITS}
SHORT = "\n".join(HELD["validation"]), "\n".join(HELD["testing"][2:])
ODD: list[tuple[str | bytes, str, str]] = [
    (f"{B}\nup/gone.wav\nup/away.wav\n", A, "2 of 3 lines of validation_list.txt name no recording: 'up/gone.wav'"),
    (*SHORT, "2 recordings are in no list, so they are trained on, though the official rule"),
    (A, A, f"'{A}' is listed for validation and for testing; list it once"),
    (b"\x80\x81", B, "validation_list.txt' is not a text file in UTF-8"),
]


@pytest.mark.parametrize(("validation", "testing", "line"), ODD)
def test_odd_lists_are_told_and_bad_ones_refused(
    tmp_path: Path, validation: str | bytes, testing: str, line: str
) -> None:
    try:
        (said,) = opened(write_files(tmp_path, files_of(PLAIN, validation_list=validation, testing_list=testing))).notes
    except UserError as error:
        said = str(error)
    assert line in said


def test_a_list_without_the_other_leaves_the_rest_to_the_rule(tmp_path: Path) -> None:
    dataset = opened(write_files(tmp_path, files_of(PLAIN, testing_list=f"{A}\n{B}")))
    assert [clip.name for clip in dataset.of_split("testing")] == [B, A]
    by_rule = {name for name in PLAIN if official_split(name) == "validation"}
    assert {clip.name for clip in dataset.of_split("validation")} == by_rule - {A, B}
    assert dataset.split_rule == "lists of the data set; validation drawn from the rest by the speakers' names (SHA-1)"


@pytest.mark.parametrize("form", ["{word}/{number:04d}.wav", "{word}/ann-{word}-{number}.wav"])
def test_names_without_a_speaker_are_split_by_recording_and_told(tmp_path: Path, form: str) -> None:
    dataset = opened(write_files(tmp_path, files_of(numbered(USUAL, 100, form))))
    assert (dataset.speakers_known, dataset.split_rule) == (False, "the recordings' names (SHA-1, the official rule)")
    assert all(clip.split == official_split(clip.name) and not clip.speaker for clip in dataset.clips)
    (note,) = dataset.notes
    assert note.startswith("400 recordings do not say who speaks")
    assert "the test figure does not hold for new voices: make a folder a speaker below each word, or give" in note
    few = opened(write_files(tmp_path / "few", files_of([*PLAIN, "up/1.wav"])))  # told, and no more
    assert few.speakers_known
    assert "1 recordings do not say who speaks ('up/1.wav'): make a folder" in told(few)


@pytest.mark.parametrize("form", ["{word}/{number}.wav", "{word}/{number}/1.wav", "{word}/{number:08x}_nohash_0.wav"])
@pytest.mark.parametrize("count", [3, 5, 12])
def test_few_recordings_or_speakers_fill_every_split_all_the_same(tmp_path: Path, form: str, count: int) -> None:
    dataset = opened(write_files(tmp_path, files_of(numbered(("go", "stop", "left"), count, form))))
    counts = Counter((clip.word, clip.split) for clip in dataset.clips)
    assert all(counts[word, split] for word in dataset.labels for split in SPLITS)
    speakers = {split: {clip.speaker for clip in dataset.of_split(split)} - {""} for split in SPLITS}
    assert not speakers["training"] & speakers["testing"]
