"""The look at a data set, its leaks, the few clips for a test client, and what is made of noise."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.data import noise
from model.data.layout import SPLITS
from model.data.recording import LIST
from model.data.source import DataSet

from ..conftest import done, encode, files_of, main, numbered, one_line, opened, recording, write_files

LABELS = ("go", "stop")
NAMED, UNNAMED = "{word}/{number:08x}_nohash_0.wav", "{word}/{number}.wav"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path / "data", files_of(numbered((*LABELS, "other"), 120)))


def dataset_of(root: Path) -> DataSet:
    return opened(root, labels=LABELS)


def look(root: Path, least: str = "5") -> subprocess.CompletedProcess[str]:
    return main("check", root, "--labels", "go,stop", "--min-clips", least)


def first(root: Path, word: str, split: str, number: int = 0) -> Path:
    return root / dataset_of(root).of_split(split, (word,))[number].name


def test_a_clean_data_set_passes_with_its_counts(root: Path) -> None:
    text, dataset = done(look(root)), dataset_of(root)
    for split in SPLITS:
        there = dataset.of_split(split)
        speakers = len({clip.speaker for clip in there})
        counts = f"{len(there)} padded, 0 cut, 0 silent, 0 clipped, 0 broken, 0 duplicate"
        assert f"\n{split}: {len(there)} clips of {speakers} speakers; {counts}\n" in text
    assert "licence: not stated" in text
    assert "No leak; every label has 5 readable clips or more in every split." in text


@pytest.mark.parametrize(("kind", "form"), [("speaker", NAMED), ("recording", NAMED), ("recording", UNNAMED)])
def test_a_speaker_or_recording_in_two_splits_is_a_leak(tmp_path: Path, kind: str, form: str) -> None:
    """Whatever the formats of the recording, and whether speakers are known or not."""
    root = write_files(tmp_path, files_of(numbered(LABELS, 120, form)))
    twins = first(root, "go", "training"), first(root, "go", "testing")
    name = " = ".join(sorted(f"go/{path.name}" for path in twins))
    if kind == "speaker":
        dataset = dataset_of(root)
        lists = ["".join(f"{clip.name}\n" for clip in dataset.of_split(split)) for split in SPLITS[1:]]
        name = dataset.of_split("testing")[0].speaker
        beside = [f"stop/{name}_nohash_1.wav"]  # not listed: training
        write_files(root, files_of(beside, validation_list=lists[0], testing_list=lists[1]))
    else:
        for path, format_ in zip(twins, ("WAV", "FLAC"), strict=True):
            path.write_bytes(recording("the same", format_))
    result, said = look(root), f"check failed: leak: {kind} '{name}' is in training and testing\n"
    assert (result.returncode, result.stderr) == (3, said)


def test_what_is_counted_and_passes(root: Path) -> None:
    silence = recording("silence")[:44] + bytes(800)  # nobody's: no leak, no duplicate
    for split, word, number in (("training", "go", 0), ("training", "go", 1), ("testing", "stop", 0)):
        first(root, word, split, number).write_bytes(silence)
    for number, samples in enumerate(((0.5, 1, 1, 1, 0.5), (-1, -1, -1), (1, 1, 0.5, 1, 1)), 5):  # not the last
        first(root, "go", "training", number).write_bytes(encode(np.array(samples, np.float32)))
    first(root, "go", "training", 3).write_bytes(b"no sound")
    twice = first(root, "go", "training", 4)
    (root / "other" / twice.name).write_bytes(twice.read_bytes())
    text = done(look(root))
    assert "0 cut, 2 silent, 2 clipped, 1 broken, 1 duplicate" in text
    assert f"\nthe same recording: go/{twice.name}, other/{twice.name}\n" in text
    for number, told in {0: "silent: go/{} (used all the same)", 3: "broken: go/{} (The file is no audio)"}.items():
        assert f"\n{told.format(first(root, 'go', 'training', number).name)}\n" in text
    for clip in dataset_of(root).of_split("testing", ("stop",))[2:]:
        (root / clip.name).write_bytes(b"")
    few = "check failed: fewer than 3 readable clips in the testing split: stop (2); record more people, or lower --"
    assert look(root, "3").stderr.startswith(few)


def test_a_few_clips_of_the_test_split(root: Path, tmp_path: Path) -> None:
    first(root, "go", "testing").write_bytes(b"no sound")
    flac = recording("flac", "FLAC")
    first(root, "go", "testing", 1).with_suffix(".flac").write_bytes(flac)  # two that would become one file
    first(root, "go", "testing", 3).write_bytes(flac)
    command = ("clips", "--dataset", root, "--labels", "go,stop", "--output", tmp_path / "out", "--per-label")

    def written(count: int) -> set[str]:
        assert "broken, passed over: go/" in done(main(*command, str(count)))
        names = json.loads((tmp_path / "out/clips.json").read_text())["clips"]
        assert [soundfile.info(tmp_path / "out" / name).format for name in set(names)] == ["WAV"] * len(names)
        return set(names)

    every, some = written(1000), written(2)
    assert len(every) == len(dataset_of(root).of_split("testing", LABELS)) - 2
    assert (len(some), some <= every, (tmp_path / "out" / LIST).is_file()) == (4, True, True)
    for clip in dataset_of(root).of_split("testing", ("stop",)):
        (root / clip.name).write_bytes(b"")
    assert "label 'stop' has no readable clips in the testing split" in one_line(main(*command, "3"))


def test_background_recordings_are_cut_in_time_and_silence_is_of_its_own_part() -> None:
    long, short = (np.arange(size, dtype=np.float32) for size in (200_000, 15_000))
    bounds = ((0, 160_000), (160_000, 180_000), (180_000, 200_000))
    for (start, end), (piece,) in zip(bounds, noise.cut([long, short]).values(), strict=True):
        np.testing.assert_array_equal(piece, long[start:end])
    assert [len(piece) for (piece,) in noise.cut([np.ones(20_000, np.float32)]).values()] == [16_000] * 3
    for split, value in (("validation", 0.25), ("testing", 0.5)):
        samples, again = (noise.silence_waveforms([np.full(20_000, value, np.float32)], split, 50) for _ in range(2))
        np.testing.assert_array_equal(samples, again)
        assert (samples == 0).all(axis=1).any()
        assert samples.max() <= value * 10 ** (noise.GAIN_DB[1] / 20) + 1e-4
