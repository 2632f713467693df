"""A data set as a run sees it: the classes beside the keywords, what is held back, and what an epoch hears."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from model import features
from model.corpus import CROP, HARD, NO_CLIP, Corpus, Sampler
from model.data.layout import SPLITS
from model.errors import UserError
from model.features import FRAMES, N_MELS, Running
from model.hard_negatives import Crops
from model.settings import make_settings

from .conftest import LABELS, OTHERS, WORDS, corpus_of, speech_files, tone_files, write_files


def epoch_of(corpus: Corpus, seed: int = 0, **chosen: Any) -> list[int]:
    sampler = Sampler(corpus, make_settings({"profile": "quick", **chosen}))
    rows = sampler.epoch(torch.Generator().manual_seed(seed)).tolist()
    assert len(rows) == len(sampler)
    return rows


def same_power(corpus: Corpus, name: str) -> None:
    """What files hold is what is heard, in whatever order."""
    waveforms, split = corpus.waveforms(name), corpus.splits[name]
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    assert waveforms.shape == (len(split), 16_000)
    expected = features.mel_power(torch.from_numpy(waveforms)[order])
    torch.testing.assert_close(split.power(order), expected, rtol=2e-3, atol=1e-9)


@pytest.fixture(scope="module")
def found(tones: Path) -> Corpus:
    return corpus_of(tones)


def test_held_out_splits_have_as_many_of_the_rest_as_of_a_keyword(found: Corpus) -> None:
    for name, split in found.splits.items():
        for clip, target in zip(split.clips, split.targets.tolist(), strict=True):
            assert found.labels[target] == ("_unknown_" if clip.word in OTHERS else clip.word)
            assert clip.split == name
    assert "_silence_" not in {clip.word for clip in found.splits["training"].clips}
    for name in SPLITS[1:]:
        counts = Counter(found.splits[name].targets.tolist())
        mean = round((counts[0] + counts[1]) / 2)
        assert (counts[3], counts[2]) == (mean, min(mean, len(found.others[name])))
    several = Counter(clip.word for clip in found.splits["testing"].clips if clip.word in OTHERS)
    assert max(several.values()) <= -(-several.total() // 2)
    same_power(found, "validation")


@pytest.mark.parametrize(
    ("left_out", "classes"), [("_", ("_unknown_",)), ("cat", ("_silence_",)), ("?", ("_unknown_", "_silence_"))]
)
def test_a_class_is_there_where_its_clips_are(tmp_path: Path, left_out: str, classes: tuple[str, ...]) -> None:
    every = tone_files((*WORDS, "cat"), speakers=20)
    files = {name: data for name, data in every.items() if not name.startswith(left_out)}
    some = corpus_of(write_files(tmp_path / "some", files))
    assert some.labels == (*WORDS, *classes)
    assert {clip.word for clip in some.splits["training"].clips} - {"cat"} == set(WORDS)
    assert bool(len(some.noise)) == (left_out != "_")  # still an augmentation


def test_without_other_words_seconds_of_speech_are_judged_in_their_place(tmp_path: Path) -> None:
    """Own words alone: what the model calls ``_unknown_`` is trained, calibrated and tested all the same."""
    speech = str(write_files(tmp_path / "speech", speech_files()))
    chosen = corpus_of(write_files(tmp_path / "own", tone_files()), speech=speech)
    assert chosen.labels == LABELS
    for name in SPLITS[1:]:
        counts = Counter(clip.word for clip in chosen.splits[name].clips)
        assert counts["_unknown_"] == round((counts["low"] + counts["high"]) / 2)
        waveforms = chosen.waveforms(name)[chosen.splits[name].targets.numpy() == 2]
        assert (abs(waveforms).max(axis=1) > 0.1).all()
    same_power(chosen, "validation")
    rows = epoch_of(chosen)
    assert [rows.count(kind) / len(rows) for kind in (CROP, HARD)] == pytest.approx([0.21, 0.21], abs=0.01)
    assert chosen.digest != corpus_of(tmp_path / "own").digest


def test_folders_of_the_classes_are_the_classes(tmp_path: Path) -> None:
    root = write_files(tmp_path, tone_files(LABELS))
    for made in (True, False):
        chosen = corpus_of(root)
        assert chosen.labels == LABELS
        for split in chosen.splits.values():
            classes = [chosen.labels[target] for target in split.targets]
            assert [clip.word for clip in split.clips] == classes
            assert {*classes} == {*LABELS}
        rows = epoch_of(chosen)
        recorded = [row for row in rows if row >= 0 and chosen.splits["training"].clips[row].word == "_silence_"]
        assert (bool(recorded), NO_CLIP in rows) == (True, made)
        shutil.rmtree(root / "_background_noise_", ignore_errors=True)


def test_broken_clips_are_left_out_and_a_split_must_keep_some(tmp_path: Path) -> None:
    root = write_files(tmp_path / "tones", tone_files())
    of_high = [clip.name for clip in corpus_of(root).splits["validation"].clips if clip.word == "high"]
    (root / of_high[0]).write_bytes(b"")
    part = corpus_of(root).splits["validation"]
    assert part.audit.named("broken") == [of_high[0]]
    assert Counter(clip.word for clip in part.clips)["high"] == len(of_high) - 1
    assert len(part) == len(part.targets) == len(part.power(torch.arange(len(part))))
    for name in of_high:
        (root / name).write_bytes(b"")
    with pytest.raises(UserError, match="label 'high' has no readable clips in the validation split"):
        corpus_of(root)


def test_an_epoch_has_every_keyword_clip_and_a_share_of_the_rest(found: Corpus) -> None:
    clips = found.splits["training"].clips
    one, two = (epoch_of(found, seed, silence_share=1.0) for seed in range(2))
    keywords = [row for row, clip in enumerate(clips) if clip.word in WORDS]
    mean = round(len(keywords) / 2)
    for rows in (one, two):
        assert len(rows) == len(keywords) + 2 * mean
        assert rows.count(NO_CLIP) == mean
        assert [rows.count(row) for row in keywords] == [1] * len(keywords)
        unknown = Counter(clips[row].word for row in rows if row != NO_CLIP and clips[row].word not in WORDS)
        assert max(unknown.values()) - min(unknown.values()) <= 1  # whether a word has ten clips or forty
    assert one != two
    assert len(epoch_of(found, unknown_share=0.5, silence_share=2.0)) == 2 * mean + round(mean / 2) + 2 * mean


def crops_of(*frames: int, late: int = 0, without: int = 0) -> Crops:
    """Of recordings one after another, whose frames hold the recording's number, from 1."""
    power = torch.cat([torch.full((count, N_MELS), number + 1.0) for number, count in enumerate(frames)])
    return Crops(Running(power.half(), torch.tensor(frames)[:, None], ("",) * len(frames)), late, without)


def draw(crops: Crops, epoch: int, hard: bool = False) -> torch.Tensor:
    crops.begin(epoch)
    return crops.draw(torch.full((3000,), hard), torch.Generator().manual_seed(epoch))


def test_a_crop_lies_within_one_recording() -> None:
    crops = crops_of(FRAMES + 5, FRAMES - 1, 200)
    starts = draw(crops, 1, hard=True)
    assert len(starts.unique()) == 6 + 200 - FRAMES + 1  # every place, and the short recording never
    found = crops.read(starts)
    assert found.shape == (3000, N_MELS, FRAMES)
    assert (found == found[:, :1, :1]).all()
    assert set(found[:, 0, 0].tolist()) == {1.0, 9.0}


def test_hard_crops_are_near_where_the_model_was_surest() -> None:
    crops = crops_of(4000)
    every = torch.arange(4000 - FRAMES + 1)
    for sure in (((every - 1000).abs() < 70).float(), torch.zeros(len(every))):  # once, which counts by half then
        crops.tell(every, sure)
    hard = draw(crops, 9, hard=True)
    assert ((hard - 1000).abs() < 80).all()
    assert len(hard.unique()) > 60
    assert ((draw(crops, 9) - 1000).abs() > 80).float().mean() > 0.9


def test_negatives_of_the_users_come_after_a_third_of_the_epochs() -> None:
    crops = crops_of(100, 100, late=1, without=3)
    heard = [set(crops.read(draw(crops, epoch))[:, 0, 0].tolist()) for epoch in (3, 4)]
    assert heard == [{1.0}, {1.0, 4.0}]
    alone = crops_of(100, late=1, without=3)  # there is nothing else: from the first epoch on
    assert (alone.without, len(draw(alone, 1))) == (0, 3000)
    nothing = Running(torch.empty(0, N_MELS).half(), torch.empty(0, 1, dtype=torch.int64), ())
    assert not draw(Crops(nothing), 1).any()  # without speech nothing is drawn
