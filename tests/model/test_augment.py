"""Augmentation: what it does to mel power, not just its shapes."""

import torch

from model import features
from model.augment import Augmenter, mixup

NOISE = torch.rand(300, 40, generator=torch.Generator().manual_seed(1)) + 0.5
SILENT = torch.empty(0, 40)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_shift_moves_frames_and_nothing_comes_in_for_what_leaves() -> None:
    power = torch.zeros(200, 40, 61)
    power[:, :, [0, 30]] = 1.0
    shifted = Augmenter(SILENT, max_shift=6)._shift(power, _generator())
    assert set((shifted[:, 0, 20:41].argmax(dim=1) + 20).tolist()) == set(range(24, 37))
    assert power.sum() / 2 < shifted.sum() < power.sum()


def test_noise_is_added_at_the_given_ratio() -> None:
    power = torch.full((500, 40, 61), 2.0)
    augmenter = Augmenter(NOISE, noise_probability=0.5, snr_db=(10.0, 10.0))
    added = (augmenter._add_noise(power, _generator()) - power).mean(dim=(1, 2))
    noisy = added > 0.1
    assert 0.4 < noisy.double().mean() < 0.6
    assert ((added[~noisy] > 2e-5) & (added[~noisy] < 0.021)).all()  # a floor everywhere else
    torch.testing.assert_close(added[noisy], torch.full_like(added[noisy], 0.2), rtol=1e-3, atol=0)


def test_masks_are_bounded_and_set_to_the_mean() -> None:
    power = torch.rand(300, 40, 61, generator=_generator()) + 0.1
    augmented = Augmenter(SILENT, max_shift=0)(power, _generator())
    masked = augmented == 0.0
    assert [int(masked.all(dim=dim).sum(dim=1).max()) for dim in (2, 1)] == [8, 12]
    torch.testing.assert_close(augmented[~masked], features.log_mel(power)[~masked])


def test_silence_is_made_anew_from_digital_silence_up() -> None:
    generator = _generator()
    power, again = (Augmenter(NOISE).silence(200, generator) for _ in range(2))
    level = power.mean(dim=(1, 2))
    assert 5 <= int((level == 0).sum()) <= 40
    assert level[level > 0].min() < 1e-4 * level.max()
    assert not torch.equal(power, again)


def test_mixup_keeps_the_clip_s_own_label_the_likeliest() -> None:
    inputs, targets = torch.arange(64.0)[:, None, None].expand(64, 4, 5), torch.eye(4)[torch.arange(64) % 4]
    mixed, labels = mixup(inputs, targets, 0.2, _generator())
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(64))
    assert torch.equal(labels.argmax(dim=1), targets.argmax(dim=1))
    assert not torch.equal(mixed, inputs)
