"""The spoken corpus."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.data import espeak, noise, synthetic
from model.data.layout import SPLITS
from model.data.source import DataSet
from model.errors import UserError

from .conftest import USUAL, opened


@pytest.fixture(scope="module")
def spoken() -> DataSet:
    return opened("synthetic", synthetic_size=20)


def digests(root: Path, *words: str) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*.wav") if path.parent.name in words)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_settings_give_the_same_bytes(spoken: DataSet, tmp_path: Path) -> None:
    words = ("up", "down", "_background_noise_")
    former = digests(spoken.root, *words)
    assert digests(synthetic.make(("up", "down"), 20, 0, tmp_path), *words) == former
    other = digests(synthetic.make(("up",), 10, 1, tmp_path), "up")
    assert not set(other.values()) & set(former.values())


def test_every_word_has_audible_clips_in_every_split_and_speakers_stay_apart(spoken: DataSet) -> None:
    assert (spoken.labels, spoken.licence, spoken.synthetic, spoken.notes) == (USUAL, "CC0 1.0", True, ())
    assert (len(spoken.clips), len(spoken.noise), spoken.speakers_known) == (80, len(noise.NOISES), True)
    assert {(clip.word, clip.split) for clip in spoken.clips} == {(word, split) for word in USUAL for split in SPLITS}
    speakers = [{clip.speaker for clip in spoken.of_split(split)} for split in SPLITS]
    assert len(set().union(*speakers)) == sum(map(len, speakers))
    for clip in spoken.clips:
        samples, rate = soundfile.read(spoken.root / clip.name)
        assert (samples.shape, rate) == ((16_000,), 16_000)
        assert np.abs(samples).max() > 0.02


@pytest.mark.parametrize("seed", range(5))
def test_related_voices_are_in_one_split(seed: int) -> None:
    assigned = synthetic.assign_variants(espeak.variants(), seed)
    where = {name: split for split, names in assigned.items() for name in names}
    assert sum(map(len, assigned.values())) == len(where) > 70
    assert all(assigned.values())
    assert all(where[f"{one}2"] == where[one] for one in ("klatt", "Gene"))


@pytest.mark.parametrize("kind", noise.NOISES)
def test_noise_has_unit_level(kind: str) -> None:
    samples = noise.noise(kind, 32_000, np.random.default_rng(0))
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "size", "message"), [(USUAL, 9, "--synthetic-size 9 is too few"), (("up", ","), 10, "no sound for ','")]
)
def test_what_cannot_be_spoken_is_refused_and_not_cached(
    tmp_path: Path, words: tuple[str, ...], size: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        synthetic.make(words, size, 0, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
