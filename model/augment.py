"""Augmentation of whole batches of cached mel power.

In the power domain a shift moves frames and noise adds up (the cross terms of signal and noise are left out), so that
this costs a tenth of doing the same to waveforms, and trains as well.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from model.data.noise import DIGITAL_SILENCE, GAIN_DB
from model.features import FRAMES, LOG_OFFSET, log_mel


@dataclass(frozen=True)
class Augmenter:
    """Random changes to a batch; every draw comes from ``generator``.

    ``noise`` is the mel power of background recordings, ``float32[frames, bands]``, at least one clip long, or empty.
    """

    noise: Tensor
    noise_probability: float
    band_probability: float  # of a narrow channel, a telephone's say
    max_shift: int  # frames of 16 ms
    snr_db: tuple[float, float] = (0.0, 25.0)
    floor_db: tuple[float, float] = (20.0, 50.0)  # where none is added: so that no clip is told by its padding
    cut_bands: tuple[int, int] = (8, 13)  # at most this many bands below and above it
    widest_masks: tuple[int, int] = (8, 12)  # in bands, in frames

    def __call__(self, power: Tensor, generator: Generator) -> Tensor:
        """Mel power ``[batch, bands, frames]`` -> augmented, normalised log-mel features of the same shape."""
        power = self._shift(power, generator)
        if len(self.noise) >= FRAMES:
            power = self._add_noise(power, generator)
        features = log_mel(self._narrow(power, generator))
        for dim, widest in enumerate(self.widest_masks, 1):
            features = _mask(features, dim, widest, generator)
        return features

    def silence(self, count: int, generator: Generator) -> Tensor:
        """Mel power ``[count, bands, FRAMES]`` of clips without a word: noise at any level from digital silence up."""
        crops, gain = self._crops(count, generator), _power_ratio(*GAIN_DB, count, generator)
        return crops * gain * (_uniform((count, 1, 1), generator) >= DIGITAL_SILENCE)

    def _crops(self, count: int, generator: Generator) -> Tensor:
        """Random stretches of the noise, ``[count, bands, FRAMES]``."""
        start = _integers(0, len(self.noise) - FRAMES, (count, 1), generator)
        return self.noise[start + torch.arange(FRAMES)].transpose(1, 2)

    def _shift(self, power: Tensor, generator: Generator) -> Tensor:
        batch, bands, frames = power.shape
        shift = _integers(-self.max_shift, self.max_shift, (batch, 1), generator)
        source = torch.arange(frames) - shift  # [batch, frames]
        inside = (source >= 0) & (source < frames)
        index = source.clamp(0, frames - 1)[:, None, :].expand(batch, bands, frames)
        return power.gather(2, index) * inside[:, None, :]

    def _add_noise(self, power: Tensor, generator: Generator) -> Tensor:
        batch = len(power)
        noise, loud = self._crops(batch, generator), _power_ratio(*self.snr_db, batch, generator)
        level = power.mean(dim=(1, 2), keepdim=True) / (noise.mean(dim=(1, 2), keepdim=True) + LOG_OFFSET)
        used = _uniform((batch, 1, 1), generator) < self.noise_probability
        return power + noise * (level / torch.where(used, loud, _power_ratio(*self.floor_db, batch, generator)))

    def _narrow(self, power: Tensor, generator: Generator) -> Tensor:
        batch, bands, _ = power.shape
        low = _integers(0, self.cut_bands[0], (batch, 1), generator)
        high = bands - _integers(0, self.cut_bands[1], (batch, 1), generator)
        position = torch.arange(bands)
        passes = (position >= low) & (position < high)
        passes |= _uniform((batch, 1), generator) >= self.band_probability
        return power * passes[:, :, None]


def _mask(features: Tensor, dim: int, widest: int, generator: Generator) -> Tensor:
    """SpecAugment (Park et al. 2019, arXiv:1904.08779): some bands or frames set to the bands' means, which are 0."""
    batch, size = features.shape[0], features.shape[dim]
    width = _integers(0, widest, (batch, 1), generator)
    start = (_uniform((batch, 1), generator) * (size - width + 1)).long()
    position = torch.arange(size)
    kept = (position < start) | (position >= start + width)  # [batch, size]
    return features * kept.unsqueeze(3 - dim)


def mixup(features: Tensor, targets: Tensor, alpha: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Blend each clip with another of the batch (Zhang et al. 2018, arXiv:1710.09412).

    ``features [batch, bands, frames]`` and probabilities ``targets [batch, classes]``, same shapes out. The share of
    the clip itself is at least one half, so that its own label stays the likeliest.
    """
    if alpha <= 0:
        return features, targets
    batch, seed = len(features), int(torch.randint(2**62, (), generator=generator))
    drawn = np.random.default_rng(seed).beta(alpha, alpha, batch)  # torch's own takes no generator
    share = torch.from_numpy(np.maximum(drawn, 1 - drawn)).to(features)[:, None]
    other = torch.randperm(batch, generator=generator)
    wide = share[:, :, None]
    return features * wide + features[other] * (1 - wide), targets * share + targets[other] * (1 - share)


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator)


def _power_ratio(low: float, high: float, count: int, generator: Generator) -> Tensor:
    """Ratios of power ``[count, 1, 1]``, their decibels even over a range."""
    return torch.pow(10.0, (low + (high - low) * _uniform((count, 1, 1), generator)) / 10)


def _integers(lowest: int, highest: int, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Integers from ``lowest`` to ``highest``, both included."""
    return torch.randint(lowest, highest + 1, shape, generator=generator)
