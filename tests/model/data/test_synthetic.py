"""The spoken corpus."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.data import espeak, synthetic
from model.data.layout import SPLITS
from model.data.noise import NOISES, noise
from model.errors import UserError

from ..conftest import USUAL, opened


def contents(root: Path, *words: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*.wav") if path.parent.name in words}


def test_every_word_is_audible_in_every_split_speakers_stay_apart_and_it_is_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        assigned = synthetic.assign_variants(espeak.variants(), seed)
        where = {name: split for split, names in assigned.items() for name in names}
        assert sum(map(len, assigned.values())) == len(where) > 70
        assert all(assigned.values())
        assert all(where[f"{one}2"] == where[one] for one in ("klatt", "Gene"))


def test_noise_has_unit_level() -> None:
    levels = [np.sqrt(np.mean(noise(kind, 32_000, np.random.default_rng(0)) ** 2)) for kind in NOISES]
    assert levels == pytest.approx([1.0] * len(NOISES))
