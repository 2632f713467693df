"""The look at a data set, its leaks, the few clips for a test client, and what is made of noise."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from model.data import check, clips, noise
from model.data.layout import SPLITS
from model.data.recording import read_clip
from model.data.source import DataSet
from model.errors import UserError

from ..conftest import files_of, numbered, opened, recording, wav_bytes, write_files

LABELS = ("go", "stop")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path / "data", files_of(numbered((*LABELS, "other"), 120)))


def dataset_of(root: Path) -> DataSet:
    return opened(root, labels=LABELS)


def checked(root: Path, min_clips: int = 5) -> dict[str, Any]:
    return check.check(dataset_of(root), min_clips)


def first(root: Path, word: str, split: str, number: int = 0) -> Path:
    return root / dataset_of(root).of_split(split, (word,))[number].name


def test_a_clean_data_set_passes_with_its_counts(root: Path) -> None:
    result, dataset = checked(root), dataset_of(root)
    assert (result["passed"], result["failures"]) == (True, [])
    assert result["leaks"] == {"speakers": 0, "recordings": 0, "examples": []}
    for split in SPLITS:
        there, found = dataset.of_split(split), result["splits"][split]
        assert found["read"] == found["padded"] == len(there)
        assert found["speakers"] == len({clip.speaker for clip in there})
        assert [found[name] for name in ("clipped", "silent", "duplicate", "broken")] == [0, 0, 0, 0]
    text = check.render(result)
    assert "licence: not stated" in text
    assert "No leak; every label has 5 readable clips or more in every split." in text


def test_a_speaker_in_two_splits_is_a_leak(root: Path) -> None:
    dataset = dataset_of(root)
    lists = ["".join(f"{clip.name}\n" for clip in dataset.of_split(split)) for split in SPLITS[1:]]
    speaker = dataset.of_split("testing")[0].speaker
    beside = [f"stop/{speaker}_nohash_1.wav"]  # not listed: training
    write_files(root, files_of(beside, validation_list=lists[0], testing_list=lists[1]))
    line = f"speaker '{speaker}' is in training and testing"
    assert check.leaks(dataset_of(root)) == {"speakers": 1, "recordings": 0, "examples": [line]}
    assert checked(root)["failures"] == [f"leak: {line}"]


@pytest.mark.parametrize("form", ["{word}/{number:08x}_nohash_0.wav", "{word}/{number}.wav"])  # speakers known or not
def test_an_identical_recording_in_two_splits_is_a_leak_whatever_its_format(tmp_path: Path, form: str) -> None:
    write_files(tmp_path, files_of(numbered(LABELS, 120, form)))
    twins = first(tmp_path, "go", "training"), first(tmp_path, "go", "testing")
    for path, kind in zip(twins, ("WAV", "FLAC"), strict=True):
        path.write_bytes(recording("the same", kind))
    names = " = ".join(sorted(f"go/{path.name}" for path in twins))
    found = checked(tmp_path)
    assert found["leaks"]["examples"] == [f"recording '{names}' is in training and testing"]
    assert (found["leaks"]["recordings"], found["passed"]) == (1, False)


def test_what_is_counted_and_passes(root: Path) -> None:
    silence = recording("silence")[:44] + bytes(800)  # nobody's: no leak, no duplicate
    for split, word, number in (("training", "go", 0), ("training", "go", 1), ("testing", "stop", 0)):
        first(root, word, split, number).write_bytes(silence)
    soundfile.write(first(root, "go", "training", 2), np.clip(4 * np.sin(np.arange(16_000) / 20), -1, 1), 16_000)
    first(root, "go", "training", 3).write_bytes(b"no sound")
    twice = first(root, "go", "training", 4)
    (root / "other" / twice.name).write_bytes(twice.read_bytes())
    result = checked(root)
    training = result["splits"]["training"]
    assert result["passed"]
    assert [training[name] for name in ("clipped", "silent", "duplicate", "broken")] == [1, 2, 1, 1]
    assert result["duplicates"] == [[f"go/{twice.name}", f"other/{twice.name}"]]
    assert list(training["broken_clips"].values()) == ["The file is no audio"]
    assert "\nbroken: go/" in check.render(result)
    for clip in dataset_of(root).of_split("testing", ("stop",))[2:]:
        (root / clip.name).write_bytes(b"")
    (few,) = checked(root, 3)["failures"]
    assert few.startswith("fewer than 3 readable clips in the testing split: stop (2); record more people, or lower --")


@pytest.mark.parametrize(
    ("samples", "clipped"), [([0.5, 1, 1, 1, 0.5], True), ([1, 1, 0.5, 1, 1], False), ([-1, -1, -1], True)]
)
def test_clipped_is_three_samples_in_a_row_at_full_scale(samples: list[float], clipped: bool) -> None:
    assert read_clip(wav_bytes(np.array(samples, np.float32)))[1].clipped is clipped


def test_a_few_clips_of_the_test_split(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first(root, "go", "testing").write_bytes(b"no sound")
    flac = recording("flac", "FLAC")
    first(root, "go", "testing", 1).with_suffix(".flac").write_bytes(flac)  # two that would become one file
    first(root, "go", "testing", 3).write_bytes(flac)

    def written(count: int) -> set[str]:
        (folder := tmp_path / str(count)).mkdir()
        clips.write(folder, dataset_of(root), count)
        assert clips.is_former(folder)
        names = json.loads((folder / "clips.json").read_text())["clips"]
        assert [soundfile.info(folder / name).format for name in set(names)] == ["WAV"] * len(names)
        return set(names)

    every, some = written(1000), written(2)
    assert len(every) == len(dataset_of(root).of_split("testing", LABELS)) - 2
    assert (len(some), some <= every) == (4, True)
    assert "broken, passed over" in caplog.text
    for clip in dataset_of(root).of_split("testing", ("stop",)):
        (root / clip.name).write_bytes(b"")
    with pytest.raises(UserError, match="label 'stop' has no readable clips in the testing split"):
        written(3)


def test_background_recordings_are_cut_in_time() -> None:
    long, short = (np.arange(size, dtype=np.float32) for size in (200_000, 15_000))
    bounds = ((0, 160_000), (160_000, 180_000), (180_000, 200_000))
    for (start, end), (piece,) in zip(bounds, noise.cut([long, short]).values(), strict=True):
        np.testing.assert_array_equal(piece, long[start:end])
    assert [len(piece) for (piece,) in noise.cut([np.ones(20_000, np.float32)]).values()] == [16_000] * 3


def test_silence_is_the_same_each_time_and_of_its_own_part() -> None:
    for split, value in (("validation", 0.25), ("testing", 0.5)):
        pieces = [np.full(20_000, value, np.float32)]
        samples = noise.silence_waveforms(pieces, split, 50)
        assert {clip.split for clip in noise.silence_clips(split, 50)} == {split}
        np.testing.assert_array_equal(samples, noise.silence_waveforms(pieces, split, 50))
        assert (samples == 0).all(axis=1).any()
        np.testing.assert_array_equal(samples * 32768, np.rint(samples * 32768))
        assert samples.max() <= value * 10 ** (noise.GAIN_DB[1] / 20) + 1e-4
