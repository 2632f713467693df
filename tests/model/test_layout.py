"""The folder layout and the split rule."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.layout import SPLITS, official_split, require_clips, scan, speaker_of
from model.data.source import from_path
from model.errors import UserError
from model.settings import LABELS

from .conftest import tone_files, write_files


@pytest.mark.parametrize(
    ("name", "split"),
    [  # from the validation_list.txt and testing_list.txt of the official archive
        ("bed/1b4c9b89_nohash_0.wav", "testing"),
        ("bed/370844f7_nohash_0.wav", "testing"),
        ("bed/3f2b358d_nohash_0.wav", "testing"),
        ("bed/2ce7534c_nohash_0.wav", "validation"),
        ("bed/57cb3575_nohash_1.wav", "validation"),
        ("right/d1a17cbe_nohash_1.wav", "training"),
    ],
)
def test_official_rule_gives_the_official_lists(name: str, split: str) -> None:
    assert official_split(name) == split


@pytest.mark.real_data
def test_official_rule_agrees_with_every_line_of_the_archive_s_lists(speech_commands: Path) -> None:
    layout = scan(from_path(speech_commands, LABELS).root, LABELS)
    assert layout.split_rule == "lists of the data set"
    assert [clip.name for clip in layout.clips if official_split(clip.name) != clip.split] == []
    assert [len(layout.of_split(split)) for split in SPLITS] == [3137, 443, 183]


@given(st.text("0123456789abcdef", min_size=8, max_size=8), st.integers(0, 9), st.integers(0, 9))
def test_a_speaker_stays_in_one_split(speaker: str, one: int, other: int) -> None:
    first, second = f"up/{speaker}_nohash_{one}.wav", f"no/{speaker}_nohash_{other}.wav"
    assert official_split(first) == official_split(second)
    assert speaker_of(first) == speaker_of(second) == speaker


def test_lists_of_the_data_set_win_over_the_rule(tmp_path: Path) -> None:
    root = write_files(tmp_path, tone_files(speakers=3))
    (root / "validation_list.txt").write_text("low/00000000_nohash_0.wav\n\n")
    (root / "testing_list.txt").write_text("./high/00000001_nohash_0.wav\n")
    layout = scan(root, ("low", "high"))
    assert [clip.name for clip in layout.of_split("validation")] == ["low/00000000_nohash_0.wav"]
    assert [clip.name for clip in layout.of_split("testing")] == ["high/00000001_nohash_0.wav"]
    assert layout.noise == ("_background_noise_/hiss.wav",)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"validation_list.txt": b""}, "no testing_list.txt"),
        ({"validation_list.txt": b"low/a.wav", "testing_list.txt": b"low/a.wav"}, "for validation and for testing"),
        ({"validation_list.txt": b"\xff\xfe", "testing_list.txt": b""}, "not a text file"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, lists: dict[str, bytes], message: str) -> None:
    root = write_files(tmp_path, {**tone_files(speakers=2), **lists})
    with pytest.raises(UserError, match=message):
        scan(root, ("low", "high"))


def test_a_label_without_clips_is_named_with_what_there_is(tmp_path: Path) -> None:
    root = write_files(tmp_path, tone_files())
    with pytest.raises(UserError, match=r"label 'middle' has no clips .*\(it has high, low\)"):
        require_clips(scan(root, ("low", "middle")), ("low", "middle"), "tones")


@pytest.mark.parametrize("split", ["training", "validation", "testing"])
def test_a_label_needs_clips_in_every_split(tmp_path: Path, split: str) -> None:
    root = write_files(tmp_path, tone_files())
    for clip in scan(root, ("high",)).of_split(split):
        (root / clip.name).unlink()
    with pytest.raises(UserError, match=f"label 'high' has no clips in the {split} split"):
        require_clips(scan(root, ("low", "high")), ("low", "high"), "tones")
