"""Running speech: what is named, what holds a keyword, who is held back; and what espeak-ng speaks."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile

from model.data import archive, synthetic
from model.data.layout import SPLITS
from model.data.noise import NOISES, noise
from model.data.speech import Speech, open_speech
from model.errors import UserError
from model.settings import Settings

from ..conftest import USUAL, encode, opened, speech_files, tar, tone, write_files

WAV = encode(tone(300, 0.1))


def speech_of(source: Path | str, evaluation: Path | str = "none", keywords: Any = ("up",), **more: str) -> Speech:
    given = {"speech": str(source), "speech_evaluation": str(evaluation), **more}
    return open_speech(Settings("some", **given), keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "apart"),
    [("UP THE HILL", True), ("I KNOW THAT", True), ("the snow", False), ("not now", False), ("no", True), ("", False)],
)
def test_a_keyword_and_what_sounds_like_one_are_apart(tmp_path: Path, text: str, apart: bool) -> None:
    found = speech_of(write_files(tmp_path, speech_files(12, text)), keywords=("up", "no"))
    told = any("a keyword or a word that sounds like one" in note for note in found.notes)
    assert (any(found.holding.values()), any(found.without.values()), told) == (apart, not apart, apart)


def test_readers_are_held_back_whole_and_others_judge(tmp_path: Path) -> None:
    files = {**speech_files(60), **speech_files(60, folder="more/")}
    found = speech_of(source := write_files(tmp_path / "a", files))
    readers = {split: {one.reader for one in recordings} for split, recordings in found.without.items()}
    assert all(4 <= len(readers[split]) <= 20 for split in ("validation", "testing"))
    assert sum(map(len, readers.values())) == len(set.union(*readers.values())) == 60
    judged = speech_of(source, write_files(tmp_path / "b", speech_files(3)))
    assert [one.path.name for one in judged.without["testing"]] == [f"{name}-7-0001.wav" for name in (100, 101, 102)]
    assert len(judged.without["training"]) + len(judged.without["validation"]) == 120
    assert judged.digest != found.digest
    packed = speech_of(tar(tmp_path / "a.tar", files, mode="w"))  # elsewhere, the same
    assert (packed.source, packed.digest) == ("a.tar", found.digest)


def test_few_readers_no_transcripts_and_what_is_not_read_are_told_and_negatives_are_apart(tmp_path: Path) -> None:
    radio = {f"radio/{n}.wav": WAV for n in range(30)}
    rooms = write_files(tmp_path / "rooms", {"kitchen/one.wav": WAV, "kitchen/.DS_Store": b"", "notes.txt": b""})
    source = write_files(tmp_path / "speech", {**radio, "radio/more.m4a": b"x", "radio/._1.wav": b"x"})
    found = speech_of(source, negatives=str(rooms))
    assert [one.path.name for one in found.negatives] == ["one.wav"]
    expected = ("recordings that are not read: 1 .m4a in radio", "The speech has few readers", "30 recordings of sp")
    assert [note[: len(start)] for note, start in zip(found.notes, expected, strict=True)] == [*expected]
    assert all(found.without.values())
    alone = speech_of(write_files(tmp_path / "one", {"a.wav": WAV}))
    assert any("too few recordings for" in note and "cut long ones" in note for note in alone.notes)


def test_librispeech_is_fetched_or_missing_or_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = Mock(return_value=tar(tmp_path / "part.tar.gz", speech_files(12, folder="LibriSpeech/dev-clean/")))
    monkeypatch.setattr(archive, "official", fetch)
    found = speech_of("librispeech", "librispeech", speech_url="http://127.0.0.1/x/")
    asked = [(url, len(sha256)) for (url, sha256), _ in fetch.call_args_list]
    assert asked == [(f"http://127.0.0.1/x/{part}.tar.gz", 64) for part in ("dev-clean", "test-other")]
    assert (found.source, found.evaluation) == ("LibriSpeech dev-clean", "LibriSpeech test-other")
    fetch.side_effect = UserError("cannot download it")
    with pytest.raises(UserError, match="cannot download it"):
        open_speech(Settings("speech-commands", speech="librispeech"), ("up",))
    default = open_speech(Settings("speech-commands"), ("up",))
    assert not any(default.without.values())
    assert default.notes[0].startswith("Running speech was not to be had (cannot download it)")
    assert "not to be left listening" in default.notes[0]


def test_spoken_sentences_hold_no_keyword_and_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = speech_of("spoken", keywords=("go", "stop", "left"))
    every = [one for recordings in (*found.without.values(), *found.holding.values()) for one in recordings]
    assert len(every) > 100
    assert not any((one.words or frozenset()) & {"go", "stop", "left"} for one in every)
    assert all(found.without.values())
    monkeypatch.setattr(synthetic, "ProcessPoolExecutor", None)
    assert speech_of("spoken", keywords=("go", "stop", "left")).without == found.without


def contents(root: Path, *words: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*.wav") if path.parent.name in words}


def test_spoken_words_are_audible_in_every_split_and_the_same_each_time(tmp_path: Path, monkeypatch: Any) -> None:
    spoken = opened("synthetic", synthetic_size=10)
    assert (spoken.labels, spoken.licence, spoken.synthetic, spoken.notes) == (USUAL, "CC0 1.0", True, ())
    assert (len(spoken.clips), len(spoken.noise), spoken.speakers_known) == (40, len(NOISES), True)
    assert {(clip.word, clip.split) for clip in spoken.clips} == {(word, split) for word in USUAL for split in SPLITS}
    speakers = [{clip.speaker for clip in spoken.of_split(split)} for split in SPLITS]
    assert len(set().union(*speakers)) == sum(map(len, speakers))
    for clip in spoken.clips:
        samples, rate = soundfile.read(spoken.root / clip.name)
        assert (samples.shape, rate) == ((16_000,), 16_000)
        assert np.abs(samples).max() > 0.02
    levels = [np.sqrt(np.mean(noise(kind, 32_000, np.random.default_rng(0)) ** 2)) for kind in NOISES]
    assert levels == pytest.approx([1.0] * len(NOISES))
    monkeypatch.setenv("KWS_CACHE", str(tmp_path))
    again, other = (synthetic.make(("up",), 10, seed) for seed in (0, 1))
    former = contents(spoken.root, "up", "_background_noise_")
    assert contents(again, "up", "_background_noise_") == former
    assert not set(contents(other, "up").values()) & set(former.values())
    with pytest.raises(UserError, match="no sound for ','"):
        synthetic.make(("up", ","), 10, 0)
    assert len([path for path in (tmp_path / "synthetic").iterdir() if path.suffix != ".lock"]) == 2  # whole ones


def test_related_voices_are_in_one_split() -> None:
    for seed in range(5):
        assigned = synthetic.assign_variants(seed)
        where = {name: split for split, names in assigned.items() for name in names}
        assert sum(map(len, assigned.values())) == len(where) > 70
        assert all(assigned.values())
        assert all(where[f"{one}2"] == where[one] for one in ("klatt", "Gene"))
