"""The training loop, on the small spoken corpus."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from model import dataset, training
from model.data.layout import NOISE_FOLDER, scan
from model.errors import UserError
from model.settings import LABELS, make_settings

from .conftest import tone_files, write_files


@pytest.fixture(scope="module")
def corpus(spoken: Path) -> dataset.Corpus:
    return dataset.load(scan(spoken, LABELS), SETTINGS)


SETTINGS = make_settings("quick", epochs=3, batch_size=32, threads=2, speed_copies=True, mixup=0.2)
TONES = make_settings("quick", labels=("low", "high"), epochs=12, ema_decay=0.5, threads=1, speed_copies=False)


def test_same_seed_same_weights_bit_for_bit_with_any_number_of_threads(corpus: dataset.Corpus) -> None:
    one, same = (training.train(dataclasses.replace(SETTINGS, threads=threads), corpus) for threads in (1, 2))
    other = training.train(dataclasses.replace(SETTINGS, seed=1), corpus)
    assert one.history == same.history
    weights, again, different = (list(run.network.state_dict().values()) for run in (one, same, other))
    assert all(torch.equal(a, b) for a, b in zip(weights, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights, different, strict=True))


def test_the_best_validation_epoch_s_weights_are_kept(corpus: dataset.Corpus) -> None:
    told: list[tuple[int, bool]] = []
    trained = training.train(SETTINGS, corpus, lambda epoch, best: told.append((epoch.epoch, best)))
    assert [number for number, _ in told] == [1, 2, 3]
    assert trained.best_epoch == max(number for number, best in told if best)
    best = min(trained.history, key=lambda epoch: epoch.val_loss)
    assert trained.best == best
    loss, accuracy = training.score(trained.network, corpus.splits["validation"])
    assert (loss, accuracy) == (best.val_loss, best.val_acc)


def test_the_test_split_has_no_part_in_training(corpus: dataset.Corpus) -> None:
    without = dataclasses.replace(corpus, splits={name: corpus.splits[name] for name in ("training", "validation")})
    assert training.train(SETTINGS, without).history == training.train(SETTINGS, corpus).history


def test_a_loss_that_runs_away_is_said(corpus: dataset.Corpus) -> None:
    stored = corpus.splits["training"].stored
    endless = dataclasses.replace(stored, power=torch.full_like(stored.power, math.inf))
    broken = dataclasses.replace(corpus.splits["training"], stored=endless)
    infinite = dataclasses.replace(corpus, splits={**corpus.splits, "training": broken})
    with pytest.raises(UserError, match=r"training diverged in epoch 1 .*; lower --learning-rate"):
        training.train(SETTINGS, infinite)


def test_training_learns_without_noise_and_with_an_odd_last_batch(tmp_path: Path) -> None:
    files = {name: data for name, data in tone_files().items() if NOISE_FOLDER not in name}
    layout = scan(write_files(tmp_path, files), ("low", "high"))
    tones = dataset.load(layout, TONES)
    assert tones.labels == ("low", "high")
    settings = dataclasses.replace(TONES, batch_size=len(tones.splits["training"]) - 1)
    assert training.train(settings, tones).best.val_acc > 0.9


def test_a_corpus_has_what_its_files_hold(corpus: dataset.Corpus) -> None:
    assert corpus.labels == (*LABELS, "_silence_")  # it has noise, but no other words
    assert [len(corpus.splits[name]) for name in ("training", "validation", "testing")] == [128, 20, 20]
    assert corpus.splits["training"].copies == 3
    assert corpus.noise.shape[0] > 6 * 900
    held_out = corpus.splits["validation"]
    assert [corpus.labels[target] for target in held_out.targets.tolist()] == [clip.word for clip in held_out.clips]
    waveforms = corpus.waveforms("validation")
    assert waveforms.shape == (20, 16_000)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    expected = dataset.features.mel_power(torch.from_numpy(waveforms)[order])
    torch.testing.assert_close(held_out.power(order), expected, rtol=2e-3, atol=1e-9)


def test_broken_clips_are_left_out_and_a_split_must_keep_some(tmp_path: Path) -> None:
    root = write_files(tmp_path, tone_files())
    layout = scan(root, TONES.labels)
    of_high = [clip for clip in layout.of_split("validation") if clip.word == "high"]
    (root / of_high[0].name).write_bytes(b"")
    part = dataset.load(layout, TONES).splits["validation"]
    words = [clip.word for clip in part.clips]
    assert list(part.audit.broken) == [of_high[0].name]
    assert words.count("high") + words.count("low") == len(layout.of_split("validation")) - 1
    assert len(part) == len(part.targets) == len(part.power(torch.arange(len(part))))
    for clip in of_high:
        (root / clip.name).write_bytes(b"")
    with pytest.raises(UserError, match="label 'high' has no readable clips in the validation split"):
        dataset.load(layout, TONES)
