"""Features and augmentation: what they compute, not just their shapes."""

import numpy as np
import pytest
import torch

from model import features
from model.augment import Augmenter, _beta, mixup
from model.front_end import FoldedMelPower

from .conftest import tone


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_the_folded_front_end_equals_torchaudio(scale: float) -> None:
    waveforms = scale * torch.randn(3, 16_000, generator=_generator())
    expected, got = features.mel_power(waveforms), FoldedMelPower()(waveforms)
    assert got.shape == (3, features.N_MELS, features.FRAMES)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6 * scale**2)


def test_the_folded_front_end_places_every_sample_of_a_window() -> None:
    impulses = torch.eye(512, 16_000).roll(8_000, dims=1)
    torch.testing.assert_close(FoldedMelPower()(impulses), features.mel_power(impulses), rtol=1e-4, atol=1e-5)


def test_log_mel_forgets_the_level_and_the_colour() -> None:
    power = features.mel_power(torch.randn(2, 16_000, generator=_generator()))
    one, other = features.log_mel(power), features.log_mel(power * torch.logspace(1, 3, 40)[:, None])
    torch.testing.assert_close(one, other, atol=1e-3, rtol=0)
    torch.testing.assert_close(one.mean(dim=2), torch.zeros(2, 40), atol=1e-5, rtol=0)
    torch.testing.assert_close(one.std(dim=(1, 2)), torch.ones(2), atol=1e-2, rtol=0)


@pytest.mark.parametrize("level", [0.0, 1e-9, 1e-6])
def test_digital_silence_has_features_near_zero(level: float) -> None:
    silence = level * torch.randn(1, 16_000, generator=_generator())
    assert features.log_mel(features.mel_power(silence)).abs().max() < 0.1


@pytest.mark.parametrize(("numerator", "denominator"), [(11, 10), (9, 10)])
def test_speed_changes_the_pitch_and_keeps_the_middle(numerator: int, denominator: int) -> None:
    word = np.zeros(16_000, dtype=np.float32)
    word[6_000:10_000] = tone(1000, 0.25)
    changed = features.change_speed(torch.from_numpy(word)[None], numerator, denominator)[0].numpy()
    assert changed.shape == (16_000,)
    loudest = np.abs(np.fft.rfft(changed)).argmax()
    assert loudest == pytest.approx(1000 * numerator / denominator, rel=0.01)
    heard = np.flatnonzero(np.abs(changed) > 0.05)
    assert (heard[0] + heard[-1]) / 2 == pytest.approx(8_000, abs=30)
    assert heard[-1] - heard[0] == pytest.approx(4_000 * denominator / numerator, rel=0.02)


def test_a_shift_moves_frames_and_fills_with_nothing() -> None:
    power = torch.zeros(200, 40, 61)
    power[:, :, 30] = 1.0
    plain = Augmenter(torch.empty(0, 40), max_shift=6)
    shifted = plain._shift(power, _generator())
    places = shifted[:, 0].argmax(dim=1)
    assert set(places.tolist()) == set(range(24, 37))
    assert shifted.sum() == power.sum()
    power[:, :, 0] = 1.0  # may leave the clip on the left; nothing comes in for it
    assert plain._shift(power, _generator()).sum() < power.sum()


def test_noise_is_added_at_the_given_ratio() -> None:
    power, noise = torch.full((500, 40, 61), 2.0), torch.rand(300, 40, generator=_generator(1)) + 0.5
    augmenter = Augmenter(noise, noise_probability=0.5, snr_db=(10.0, 10.0))
    added = (augmenter._add_noise(power, _generator()) - power).mean(dim=(1, 2))
    noisy = added > 0
    assert 0.4 < noisy.double().mean() < 0.6
    torch.testing.assert_close(added[noisy], torch.full_like(added[noisy], 0.2), rtol=1e-3, atol=0)


def test_masks_are_bounded_and_set_to_the_mean() -> None:
    power = torch.rand(300, 40, 101, generator=_generator(1)) + 0.1
    augmented = Augmenter(torch.empty(0, 40), max_shift=0)(power, _generator())
    masked = augmented == 0.0
    bands, frames = masked.all(dim=2).sum(dim=1), masked.all(dim=1).sum(dim=1)
    assert bands.max() == 8
    assert frames.max() == 12
    untouched = ~masked
    torch.testing.assert_close(augmented[untouched], features.log_mel(power)[untouched])


def test_augmentation_is_the_generator_s() -> None:
    power, noise = torch.rand(8, 40, 101, generator=_generator(1)), torch.rand(300, 40, generator=_generator(2))
    augmenter = Augmenter(noise)
    one, same, other = (augmenter(power, _generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_mixup_keeps_the_clip_s_own_label_the_likeliest() -> None:
    inputs = torch.arange(64.0)[:, None, None].expand(64, 4, 5)
    targets = torch.nn.functional.one_hot(torch.arange(64) % 4, 4).float()
    mixed, labels = mixup(inputs, targets, 0.2, _generator())
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(64))
    assert torch.equal(labels.argmax(dim=1), targets.argmax(dim=1))
    assert not torch.equal(mixed, inputs)
    assert mixup(inputs, targets, 0.0, _generator())[0] is inputs


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_beta_draws_have_the_right_moments(alpha: float) -> None:
    draws = _beta(alpha, 20_000, _generator())
    assert float(draws.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(draws.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
