"""Augmentation of whole batches of cached mel power.

In the power domain a shift moves frames and noise adds up (the cross terms of signal and noise are left out), so that
this costs a tenth of doing the same to waveforms, and trains as well.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from model.features import FRAMES, LOG_OFFSET, log_mel
from model.noise import DIGITAL_SILENCE, GAIN_DB


@dataclass(frozen=True)
class Augmenter:
    """Random changes to a batch; every draw comes from ``generator``.

    ``noise`` is the mel power of background recordings, ``float32[frames, bands]``, at least one clip long, or empty.
    """

    noise: Tensor
    noise_probability: float = 0.5
    snr_db: tuple[float, float] = (0.0, 25.0)
    max_shift: int = 10  # frames of 10 ms
    frequency_masks: tuple[int, int] = (1, 8)  # how many, at most how wide
    time_masks: tuple[int, int] = (1, 20)

    def __call__(self, power: Tensor, generator: Generator) -> Tensor:
        """Mel power ``[batch, bands, frames]`` -> augmented, normalised log-mel features of the same shape."""
        power = self._shift(power, generator)
        if len(self.noise) >= FRAMES:
            power = self._add_noise(power, generator)
        features = log_mel(power)
        features = _mask(features, 1, *self.frequency_masks, generator)
        return _mask(features, 2, *self.time_masks, generator)

    def silence(self, count: int, generator: Generator) -> Tensor:
        """Mel power ``[count, bands, FRAMES]`` of clips without a word: noise at any level from digital silence up."""
        start = torch.randint(0, len(self.noise) - FRAMES + 1, (count, 1), generator=generator)
        crops = self.noise[start + torch.arange(FRAMES)].transpose(1, 2)
        low, high = GAIN_DB
        gain = torch.pow(10.0, (low + (high - low) * torch.rand(count, 1, 1, generator=generator)) / 10)
        heard = torch.rand(count, 1, 1, generator=generator) >= DIGITAL_SILENCE
        return crops * gain * heard

    def _shift(self, power: Tensor, generator: Generator) -> Tensor:
        batch, bands, frames = power.shape
        shift = torch.randint(-self.max_shift, self.max_shift + 1, (batch, 1), generator=generator)
        source = torch.arange(frames) - shift  # [batch, frames]
        inside = (source >= 0) & (source < frames)
        index = source.clamp(0, frames - 1)[:, None, :].expand(batch, bands, frames)
        return power.gather(2, index) * inside[:, None, :]

    def _add_noise(self, power: Tensor, generator: Generator) -> Tensor:
        batch, _, frames = power.shape
        start = torch.randint(0, len(self.noise) - frames + 1, (batch, 1), generator=generator)
        noise = self.noise[start + torch.arange(frames)].transpose(1, 2)  # [batch, bands, frames]
        low, high = self.snr_db
        snr = torch.pow(10.0, (low + (high - low) * torch.rand(batch, 1, 1, generator=generator)) / 10)
        level = power.mean(dim=(1, 2), keepdim=True) / (noise.mean(dim=(1, 2), keepdim=True) + LOG_OFFSET)
        used = torch.rand(batch, 1, 1, generator=generator) < self.noise_probability
        return power + noise * (level / snr * used)


def _mask(features: Tensor, dim: int, count: int, widest: int, generator: Generator) -> Tensor:
    """SpecAugment (Park et al. 2019, arXiv:1904.08779): bands or frames set to the bands' means, which are 0."""
    batch, size = features.shape[0], features.shape[dim]
    width = torch.randint(0, widest + 1, (count, batch, 1), generator=generator)
    start = (torch.rand(count, batch, 1, generator=generator) * (size - width + 1)).long()
    position = torch.arange(size)
    masked = ((position >= start) & (position < start + width)).any(dim=0)  # [batch, size]
    return features.masked_fill(masked.unsqueeze(3 - dim), 0.0)


def mixup(features: Tensor, targets: Tensor, alpha: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Blend each clip with another of the batch (Zhang et al. 2018, arXiv:1710.09412).

    ``features [batch, bands, frames]`` and probabilities ``targets [batch, classes]``, same shapes out. The share of
    the clip itself is at least one half, so that its own label stays the likeliest.
    """
    if alpha <= 0:
        return features, targets
    batch = len(features)
    share = _beta(alpha, batch, generator)
    share = torch.maximum(share, 1 - share)
    other = torch.randperm(batch, generator=generator)
    wide = share[:, None, None]
    return features * wide + features[other] * (1 - wide), targets * share[:, None] + targets[other] * (
        1 - share[:, None]
    )


def _beta(alpha: float, count: int, generator: Generator) -> Tensor:
    """``count`` draws of Beta(alpha, alpha) by Jöhnk's method; torch's own sampler takes no generator."""
    result = torch.full((count,), 0.5)
    open_ = torch.ones(count, dtype=torch.bool)
    while open_.any():
        u, v = (torch.rand(count, generator=generator).pow(1 / alpha) for _ in range(2))
        accepted = open_ & (u + v <= 1) & (u + v > 0)
        result[accepted] = (u / (u + v))[accepted]
        open_ &= ~accepted
    return result
