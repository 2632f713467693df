"""The spoken corpus."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.data import espeak, scene, synthetic
from model.data.layout import SPLITS, scan
from model.errors import UserError
from model.settings import LABELS


def _digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_settings_give_the_same_bytes(spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWS_CACHE", str(tmp_path))
    again = synthetic.make(synthetic.Corpus(LABELS, 40)).root
    assert again != spoken
    assert _digests(again) == _digests(spoken)


def test_another_seed_gives_other_clips(spoken: Path) -> None:
    other = synthetic.make(synthetic.Corpus(LABELS[:2], 10, seed=1)).root
    clips = [name for name in _digests(other) if name.startswith("up/")]
    assert len(clips) == 10
    assert not set(_digests(other).values()) & {d for name, d in _digests(spoken).items() if name.startswith("up/")}


def test_every_word_has_clips_in_every_split_and_speakers_stay_apart(spoken: Path) -> None:
    layout = scan(spoken, LABELS)
    counts = {(clip.word, clip.split) for clip in layout.clips}
    assert counts == {(word, split) for word in LABELS for split in SPLITS}
    assert len(layout.clips) == 160
    speakers = [{clip.speaker for clip in layout.of_split(split)} for split in SPLITS]
    assert not speakers[0] & speakers[1]
    assert not speakers[0] & speakers[2]
    assert not speakers[1] & speakers[2]


@pytest.mark.parametrize("seed", range(5))
def test_related_voices_are_in_one_split(seed: int) -> None:
    assigned = synthetic.assign_variants(espeak.variants(), seed)
    where = {name: split for split, names in assigned.items() for name in names}
    assert sum(map(len, assigned.values())) == len(where) > 70
    assert all(assigned.values())
    for one, other in (("klatt", "klatt2"), ("Gene", "Gene2"), ("steph", "steph3")):
        assert where[one] == where[other]


def test_clips_are_a_second_of_audible_speech(spoken: Path) -> None:
    for path in sorted((spoken / "yes").iterdir()):
        samples, rate = soundfile.read(path)
        assert (samples.shape, rate) == ((16_000,), 16_000)
        assert np.abs(samples).max() > 0.02


def test_the_licence_is_known(spoken: Path) -> None:
    from model.data.source import from_path

    assert from_path(spoken, LABELS).licence == "CC0 1.0"


@pytest.mark.parametrize("kind", scene.NOISES)
def test_noise_has_unit_level(kind: str) -> None:
    samples = scene.noise(kind, 32_000, np.random.default_rng(0))
    assert samples.shape == (32_000,)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(1.0)


def test_too_small_a_corpus_is_refused() -> None:
    with pytest.raises(UserError, match="--synthetic-size 9 is too few"):
        synthetic.make(synthetic.Corpus(LABELS, 9))


def test_a_word_that_cannot_be_spoken_is_refused_and_not_cached(cache: Path) -> None:
    corpus = synthetic.Corpus(("up", ","), 10)
    with pytest.raises(UserError, match="has no sound for ','"):
        synthetic.make(corpus)
    assert not (cache / "synthetic" / corpus.key).exists()
