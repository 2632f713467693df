"""The classes beside the keywords: what is in them, what is held back, and how often an epoch hears each."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from model import classes, dataset, noise, training
from model.augment import Augmenter
from model.data.layout import EVERY_WORD, scan
from model.errors import UserError
from model.features import log_mel
from model.sampling import NO_CLIP, Sampler
from model.settings import Settings, make_settings

from .conftest import tone_files, write_files

OTHERS = ("cat", "dog", "egg", "fig")
SETTINGS = make_settings(
    "quick", labels=("low", "high"), speed_copies=False, threads=1, unknown_share=1.0, silence_share=1.0
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = tone_files(("low", "high", *OTHERS))
    few = {name: data for name, data in files.items() if not (name.startswith("fig") and int(name[4:12], 16) > 9)}
    return write_files(tmp_path_factory.mktemp("words"), few)


def load(root: Path, settings: Settings = SETTINGS) -> dataset.Corpus:
    return dataset.load(scan(root, (*settings.labels, EVERY_WORD)), settings)


@pytest.fixture(scope="module")
def corpus(root: Path) -> dataset.Corpus:
    return load(root)


def test_other_words_and_noise_are_classes(corpus: dataset.Corpus) -> None:
    assert corpus.labels == ("low", "high", "_unknown_", "_silence_")
    for name, split in corpus.splits.items():
        for clip, target in zip(split.clips, split.targets.tolist(), strict=True):
            expected = "_unknown_" if clip.word in OTHERS else clip.word
            assert corpus.labels[target] == expected
            assert clip.split == name
    assert "_silence_" not in {clip.word for clip in corpus.splits["training"].clips}


def test_held_out_splits_have_as_many_of_the_rest_as_of_a_keyword(corpus: dataset.Corpus) -> None:
    for name in ("validation", "testing"):
        counts = Counter(corpus.splits[name].targets.tolist())
        mean = round((counts[0] + counts[1]) / 2)
        assert counts[3] == mean
        assert counts[2] == min(mean, len(corpus.others[name]))
    several = [clip for clip in corpus.splits["testing"].clips if clip.word in OTHERS]
    assert max(Counter(clip.word for clip in several).values()) <= -(-len(several) // 2)


def test_a_third_of_the_other_words_is_heard_nowhere_in_training(corpus: dataset.Corpus) -> None:
    assert corpus.unseen_words == classes.unseen_words(OTHERS, SETTINGS)
    assert len(corpus.unseen_words) == 1
    heard = {clip.word for split in corpus.splits.values() for clip in split.clips}
    assert not heard & set(corpus.unseen_words)
    assert {clip.split for clip in corpus.unseen} == {"training", "validation", "testing"}
    assert corpus.unseen_waveforms().shape == (len(corpus.unseen), 16_000)


def test_the_rule_for_unseen_words_is_the_lowest_sha1_of_at_most_six() -> None:
    words = [f"word{number}" for number in range(30)]
    chosen = classes.unseen_words(words, SETTINGS)
    assert len(chosen) == 6
    assert chosen == classes.unseen_words(reversed(words), SETTINGS)
    assert [len(classes.unseen_words(words[:count], SETTINGS)) for count in (0, 1, 2, 3, 6)] == [0, 0, 0, 1, 2]


def test_unseen_words_can_be_named(root: Path) -> None:
    assert load(root, dataclasses.replace(SETTINGS, unseen_words=("cat", "egg"))).unseen_words == ("cat", "egg")
    assert load(root, dataclasses.replace(SETTINGS, unseen_words=())).unseen == ()
    with pytest.raises(UserError, match=r"--unseen-words: the data set has no other word 'cow' \(it has cat, dog"):
        load(root, dataclasses.replace(SETTINGS, unseen_words=("cow",)))


def test_only_keywords_gives_the_bare_model(root: Path) -> None:
    bare = load(root, dataclasses.replace(SETTINGS, only_keywords=True))
    assert bare.labels == ("low", "high")
    assert bare.unseen == ()
    assert {clip.word for split in bare.splits.values() for clip in split.clips} == {"low", "high"}
    assert len(bare.noise) > 0  # still an augmentation


def test_without_noise_or_other_words_there_is_no_such_class(tmp_path: Path) -> None:
    files = tone_files(("low", "high", "cat"))
    quiet = {name: data for name, data in files.items() if not name.startswith("_")}
    assert load(write_files(tmp_path / "quiet", quiet)).labels == ("low", "high", "_unknown_")
    bare = {name: data for name, data in quiet.items() if not name.startswith("cat")}
    assert load(write_files(tmp_path / "bare", bare)).labels == ("low", "high")


def test_an_epoch_has_every_keyword_clip_and_a_share_of_the_rest(corpus: dataset.Corpus) -> None:
    split = corpus.splits["training"]
    sampler = Sampler(split, corpus.labels, SETTINGS)
    generator = torch.Generator().manual_seed(0)
    one, two = (sampler.epoch(generator).tolist() for _ in range(2))
    keywords = [row for row, clip in enumerate(split.clips) if clip.word in SETTINGS.labels]
    mean = round(len(keywords) / 2)
    for rows in (one, two):
        assert len(rows) == len(sampler) == len(keywords) + 2 * mean
        assert rows.count(NO_CLIP) == mean
        assert [rows.count(row) for row in keywords] == [1] * len(keywords)
        unknown = Counter(split.clips[row].word for row in rows if row not in keywords and row != NO_CLIP)
        assert max(unknown.values()) - min(unknown.values()) <= 1  # whether a word has ten clips or forty
    assert one != two
    halves = Sampler(split, corpus.labels, dataclasses.replace(SETTINGS, unknown_share=0.5, silence_share=2.0))
    assert len(halves) == len(keywords) + round(mean / 2) + 2 * mean


def test_silence_is_made_anew_from_digital_silence_up(corpus: dataset.Corpus) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.full((200,), NO_CLIP)
    power, targets = training.make_batch(
        corpus.splits["training"], rows, corpus.labels, Augmenter(corpus.noise), generator
    )
    assert (targets.argmax(1) == corpus.labels.index("_silence_")).all()
    level = power.mean(dim=(1, 2))
    assert 5 <= int((level == 0).sum()) <= 40
    assert level[level > 0].min() < 1e-4 * level.max()
    assert torch.isfinite(log_mel(power)).all()
    again, _ = training.make_batch(corpus.splits["training"], rows, corpus.labels, Augmenter(corpus.noise), generator)
    assert not torch.equal(power, again)


def test_background_recordings_are_cut_in_time() -> None:
    long, short = (np.arange(size, dtype=np.float32) for size in (200_000, 15_000))
    pieces = noise.cut([long, short])
    for (start, end), (piece,) in zip(
        ((0, 160_000), (160_000, 180_000), (180_000, 200_000)), pieces.values(), strict=True
    ):
        np.testing.assert_array_equal(piece, long[start:end])
    assert [len(piece) for (piece,) in noise.cut([np.ones(20_000, np.float32)]).values()] == [16_000] * 3


def test_silence_to_evaluate_on_is_the_same_each_time_and_of_its_own_part() -> None:
    pieces = {split: [np.full(20_000, value, np.float32)] for split, value in (("validation", 0.25), ("testing", 0.5))}
    for split, value in (("validation", 0.25), ("testing", 0.5)):
        samples = noise.silence_waveforms(pieces[split], split, 50)
        assert {clip.split for clip in noise.silence_clips(split, 50)} == {split}
        np.testing.assert_array_equal(samples, noise.silence_waveforms(pieces[split], split, 50))
        assert (samples == 0).all(axis=1).any()
        np.testing.assert_array_equal(samples * 32768, np.rint(samples * 32768))
        assert samples.max() <= value * 10 ** (noise.GAIN_DB[1] / 20) + 1e-4
