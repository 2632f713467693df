"""The look at a data set, its leaks, the few clips for a test client, and what is made of noise."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from kws.audio import Audio
from model.data import background, check, clips
from model.data.layout import SPLITS
from model.data.source import DataSet, cache_root
from model.errors import UserError

from .conftest import files_of, numbered, opened, recording, write

LABELS = ("go", "stop")
NAMES = numbered((*LABELS, "other"), 120)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "data", files_of(NAMES))


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
        assert found["clips"] == len(there) == sum(counts[split] for counts in result["words"].values())
        assert found["speakers"] == len({clip.speaker for clip in there})
        assert found["seconds"] == {"shortest": 0.025, "median": 0.025, "longest": 0.025}
        assert [found[name] for name in ("clipped", "silent", "duplicate", "broken")] == [0, 0, 0, 0]
    text = check.render(result)
    assert "licence: not stated" in text
    assert "No leak; every label has 5 readable clips or more in every split." in text


def test_a_speaker_in_two_splits_is_a_leak(root: Path) -> None:
    dataset = dataset_of(root)
    lists = {split: "".join(f"{clip.name}\n" for clip in dataset.of_split(split)) for split in SPLITS[1:]}
    write(root, files_of([], validation_list=lists["validation"], testing_list=lists["testing"]))
    speaker = dataset.of_split("testing")[0].speaker
    write(root, files_of([f"stop/{speaker}_nohash_1.wav"]))  # not listed: training
    found = check.leaks(dataset_of(root))
    assert found == {"speakers": 1, "recordings": 0, "examples": [f"speaker '{speaker}' is in training and testing"]}
    assert checked(root)["failures"] == [f"leak: speaker '{speaker}' is in training and testing"]


def test_an_identical_recording_in_two_splits_is_a_leak_whatever_its_format(root: Path) -> None:
    training, testing = first(root, "go", "training"), first(root, "go", "testing")
    training.write_bytes(recording("the same"))
    testing.with_suffix(".flac").write_bytes(recording("the same", "FLAC"))
    testing.unlink()
    found = check.leaks(dataset_of(root))
    assert (found["speakers"], found["recordings"]) == (0, 1)
    names = " = ".join(sorted(f"go/{path.name}" for path in (training, testing.with_suffix(".flac"))))
    assert found["examples"] == [f"recording '{names}' is in training and testing"]


def test_recordings_are_compared_where_speakers_are_not_known(tmp_path: Path) -> None:
    files = files_of(numbered(LABELS, 50, "{word}/{number}.wav"))
    dataset = opened(write(tmp_path, files))
    one, other = dataset.of_split("training")[0].name, dataset.of_split("testing")[0].name
    write(tmp_path, {one: files[other]})
    assert check.leaks(opened(tmp_path))["recordings"] == 1


def test_many_leaks_are_counted_and_a_few_named(root: Path) -> None:
    for path in root.rglob("*.wav"):
        path.write_bytes(recording(path.stem))  # a speaker's words alike: in one split, no leak
    for clip in dataset_of(root).of_split("testing"):
        (root / clip.name).write_bytes(recording("00000001_nohash_0" if "1" in clip.name[:-7] else "0"))
    result = checked(root)
    assert result["leaks"]["recordings"] >= 1
    assert not result["passed"]


def test_what_is_counted_and_passes(root: Path) -> None:
    silence = recording("silence")[:44] + bytes(800)
    for number in range(2):
        first(root, "go", "training", number).write_bytes(silence)
    first(root, "stop", "testing").write_bytes(silence)  # nobody's recording: no leak, no duplicate
    soundfile.write(first(root, "go", "training", 2), np.clip(4 * np.sin(np.arange(16_000) / 20), -1, 1), 16_000)
    first(root, "go", "training", 3).write_bytes(b"no sound")
    twice = first(root, "go", "training", 4)
    (root / "other" / twice.name).write_bytes(twice.read_bytes())
    result = checked(root)
    assert result["passed"]
    training = result["splits"]["training"]
    assert [training[name] for name in ("clipped", "silent", "duplicate", "broken")] == [1, 2, 1, 1]
    assert result["duplicates_under_two_words"] == [[f"go/{twice.name}", f"other/{twice.name}"]]
    assert list(result["broken"].values()) == ["The file is no audio"]
    assert "- broken: go/" in check.render(result)


def test_too_few_readable_clips_fail(root: Path) -> None:
    clips_there = dataset_of(root).of_split("testing", ("stop",))
    for clip in clips_there[2:]:
        (root / clip.name).write_bytes(b"")
    assert checked(root, 3)["failures"] == ["label 'stop' has 2 readable clips in the testing split, fewer than 3"]


def test_what_was_read_once_is_known_until_a_file_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWS_CACHE", str(root.with_name("cache")))
    calls = []
    decode = check.decode

    def counted(data: bytes) -> Audio:
        calls.append(len(data))
        return decode(data)

    monkeypatch.setattr(check, "decode", counted)
    former = checked(root)
    assert len(calls) == len(NAMES)
    assert checked(root) == former
    assert len(calls) == len(NAMES)
    for path in cache_root().glob("findings/*.json"):
        path.write_text('[{"seconds": 1')  # as a full disk leaves it
    assert checked(root) == former
    assert len(calls) == 2 * len(NAMES)
    first(root, "go", "training").write_bytes(b"")
    assert checked(root) != former


@pytest.mark.parametrize(
    ("samples", "clipped"),
    [([0.5, 1, 1, 1, 0.5], True), ([1, 1, 0.5, 1, 1], False), ([-1, -1, -1], True), ([1, 1], False), ([], False)],
)
def test_clipped_is_three_samples_in_a_row_at_full_scale(samples: list[float], clipped: bool) -> None:
    assert check.is_clipped(np.array(samples, np.float32)) is clipped


def test_a_few_clips_of_the_test_split(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first(root, "go", "testing").write_bytes(b"no sound")
    flac = first(root, "go", "testing", 1)
    flac.with_suffix(".flac").write_bytes(recording("flac", "FLAC"))
    flac.unlink()
    folder = tmp_path / "clips"
    folder.mkdir()
    dataset = dataset_of(root)
    with caplog.at_level(logging.WARNING):
        clips.write(folder, dataset, 1000)
    listed = json.loads((folder / "clips.json").read_text())["clips"]
    assert len(listed) == len(dataset.of_split("testing", LABELS)) - 1
    assert all(soundfile.read(folder / each["file"])[1] == 16_000 for each in listed)
    assert "broken, passed over: go/" in caplog.text
    assert "label 'stop' has only" in caplog.text
    assert clips.is_former(folder)
    again = tmp_path / "again"
    again.mkdir()
    clips.write(again, dataset, 2)
    assert {path.name for path in again.rglob("*.wav")} <= {path.name for path in folder.rglob("*.wav")}
    for clip in dataset.of_split("testing", ("stop",)):
        (root / clip.name).write_bytes(b"")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="label 'stop' has no readable clips in the testing split"):
        clips.write(empty, dataset, 2)


def test_background_recordings_are_cut_in_time() -> None:
    long, short = (np.arange(size, dtype=np.float32) for size in (200_000, 15_000))
    pieces = background.cut([long, short])
    bounds = ((0, 160_000), (160_000, 180_000), (180_000, 200_000))
    for (start, end), (piece,) in zip(bounds, pieces.values(), strict=True):
        np.testing.assert_array_equal(piece, long[start:end])
    assert [len(piece) for (piece,) in background.cut([np.ones(20_000, np.float32)]).values()] == [16_000] * 3


def test_silence_to_evaluate_on_is_the_same_each_time_and_of_its_own_part() -> None:
    for split, value in (("validation", 0.25), ("testing", 0.5)):
        pieces = [np.full(20_000, value, np.float32)]
        samples = background.silence_waveforms(pieces, split, 50)
        assert {clip.split for clip in background.silence_clips(split, 50)} == {split}
        np.testing.assert_array_equal(samples, background.silence_waveforms(pieces, split, 50))
        assert (samples == 0).all(axis=1).any()
        np.testing.assert_array_equal(samples * 32768, np.rint(samples * 32768))
        assert samples.max() <= value * 10 ** (background.GAIN_DB[1] / 20) + 1e-4
