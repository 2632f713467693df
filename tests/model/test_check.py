"""The look at a data set: what fails it, what is only counted."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.check import check, is_clipped
from model.data.layout import SPLITS, scan
from model.data.source import from_path

from .conftest import Cli, one_line, tone, tone_files, wav_bytes, write_files

LABELS = ("low", "high")


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    return write_files(tmp_path / "tones", tone_files((*LABELS, "other"), speakers=120))


def checked(root: Path, min_clips: int = 5) -> dict[str, Any]:
    return check(scan(root, (*LABELS, "other")), from_path(root, LABELS), LABELS, min_clips)


def of_split(root: Path, word: str, split: str) -> Path:
    return root / scan(root, (word,)).of_split(split)[0].name


def test_a_clean_data_set_passes_with_its_counts(tones: Path) -> None:
    result = checked(tones)
    assert (result["passed"], result["failures"]) == (True, [])
    layout = scan(tones, (*LABELS, "other"))
    for split in SPLITS:
        clips = layout.of_split(split)
        found = result["splits"][split]
        assert found["clips"] == len(clips) == sum(counts[split] for counts in result["words"].values())
        assert found["speakers"] == len({clip.speaker for clip in clips})
        assert found["seconds"] == {"shortest": 0.2, "median": 0.2, "longest": 0.2}
        assert found["hours"] == pytest.approx(len(clips) * 0.2 / 3600)
        assert [found[name] for name in ("clipped", "silent", "duplicate", "broken")] == [0, 0, 0, 0]


def test_a_speaker_in_two_splits_fails(tones: Path) -> None:
    layout = scan(tones, LABELS)
    for name, split in (("validation_list.txt", "validation"), ("testing_list.txt", "testing")):
        (tones / f"{name}.new").write_text("".join(f"{clip.name}\n" for clip in layout.of_split(split)))
    for name in ("validation_list.txt", "testing_list.txt"):
        (tones / f"{name}.new").rename(tones / name)
    speaker = layout.of_split("testing")[0].speaker
    (tones / f"high/{speaker}_nohash_1.wav").write_bytes(wav_bytes(tone(777)))  # not listed: training
    result = check(scan(tones, LABELS), from_path(tones, LABELS), LABELS, 5)
    assert result["failures"] == [f"leak: speaker '{speaker}' is in training and testing"]
    assert result["leaks"]["speakers"] == {speaker: ["testing", "training"]}


def test_an_identical_recording_in_two_splits_fails_whatever_its_file(tones: Path) -> None:
    training, validation = of_split(tones, "low", "training"), of_split(tones, "low", "validation")
    samples = (32767 * tone(555, 0.5)).astype(np.int16)
    training.write_bytes(wav_bytes(samples))
    flac = validation.with_suffix(".flac")
    flac.write_bytes(wav_bytes(samples, kind="FLAC"))
    validation.unlink()
    result = checked(tones)
    (line,) = result["failures"]
    assert line.startswith("leak: recording 'low/")
    assert line.endswith("is in training and validation")
    assert result["leaks"]["recordings"] == [sorted([f"low/{training.name}", f"low/{flac.name}"])]


def test_a_recording_twice_in_one_split_is_counted_and_passes(tones: Path) -> None:
    one = of_split(tones, "low", "training")
    other = tones / "other" / one.name
    shutil.copy(one, other)
    result = checked(tones)
    assert result["passed"]
    assert result["splits"]["training"]["duplicate"] == 1
    assert result["duplicates_under_two_words"] == [[f"low/{one.name}", f"other/{one.name}"]]


def test_silence_clipping_and_broken_files_are_counted(tones: Path) -> None:
    low = [tones / clip.name for clip in scan(tones, ("low",)).of_split("training")]
    silence = wav_bytes(np.zeros(16_000, np.float32))
    for path in low[:2]:
        path.write_bytes(silence)
    of_split(tones, "high", "testing").write_bytes(silence)  # nobody's recording: no leak, no duplicate
    low[2].write_bytes(wav_bytes(np.clip(4 * tone(200), -1, 1)))
    low[3].write_bytes(b"no sound")
    result = checked(tones)
    assert result["passed"]
    training = result["splits"]["training"]
    assert [training[name] for name in ("clipped", "silent", "duplicate", "broken")] == [1, 2, 0, 1]
    assert list(result["broken"]) == [f"low/{low[3].name}"]
    assert result["words"]["low"]["training"] == len(low) - 1


def test_too_few_readable_clips_fail(tones: Path) -> None:
    clips = scan(tones, ("high",)).of_split("testing")
    for clip in clips[2:]:
        (tones / clip.name).write_bytes(b"")
    assert checked(tones, 3)["failures"] == ["label 'high' has 2 readable clips in the testing split, fewer than 3"]
    for clip in clips:
        (tones / clip.name).unlink()
    assert checked(tones, 3)["failures"] == ["label 'high' has 0 readable clips in the testing split, fewer than 3"]


@pytest.mark.parametrize(
    ("samples", "clipped"),
    [([0.5, 1, 1, 1, 0.5], True), ([1, 1, 0.5, 1, 1], False), ([-1, -1, -1], True), ([1, 1], False), ([], False)],
)
def test_clipped_is_three_samples_in_a_row_at_full_scale(samples: list[float], clipped: bool) -> None:
    assert is_clipped(np.array(samples, np.float32)) is clipped


def test_the_command(main: Cli, tones: Path, tmp_path: Path) -> None:
    options = (tones, "--labels", "low,high", "--json", tmp_path / "new/check.json")
    good = main("check", *options, "--min-clips", "3")
    assert good.returncode == 0, good.stderr
    assert "No leak; every label has 3 readable clips or more in every split." in good.stdout
    assert json.loads((tmp_path / "new/check.json").read_text())["passed"] is True
    bad = main("check", *options, "--min-clips", "100")
    assert bad.returncode == 3
    lines = bad.stderr.splitlines()
    assert len(lines) == 6  # three splits of two labels
    assert all(line.startswith("check failed: label ") for line in lines)
    assert json.loads((tmp_path / "new/check.json").read_text())["passed"] is False
    assert "data set 'nowhere' does not exist" in one_line(main("check", "nowhere"))
    assert "--min-clips" in one_line(main("check", tones, "--min-clips", "0"))


@pytest.mark.real_data
def test_the_shared_subset_passes(speech_commands: Path, main: Cli) -> None:
    result = main("check", speech_commands)
    assert result.returncode == 0, result.stderr
    assert "licence: CC BY 4.0" in result.stdout
