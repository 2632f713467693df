"""Log-mel features: mel power (computed once a clip, cached) and its normalised logarithm (what a network sees)."""

from functools import lru_cache

import torch
import torchaudio
from torch import Tensor

from model.settings import CLIP_SAMPLES, SAMPLE_RATE

N_FFT = 512
WIN_LENGTH = 480  # 30 ms
HOP_LENGTH = 160  # 10 ms
N_MELS = 40
F_MIN, F_MAX = 20.0, 7600.0
FRAMES = CLIP_SAMPLES // HOP_LENGTH + 1
LOG_OFFSET = 1e-6
LEAST_DEVIATION = 0.1  # speech deviates by 2, noise by 0.6: less is silence, whose rounding errors must not be blown up
FRONT_END = {
    "n_fft": N_FFT,
    "win_length": WIN_LENGTH,
    "hop_length": HOP_LENGTH,
    "n_mels": N_MELS,
    "f_min": F_MIN,
    "f_max": F_MAX,
    "log_offset": LOG_OFFSET,
}


@lru_cache(maxsize=1)
def mel_spectrogram() -> torchaudio.transforms.MelSpectrogram:
    """The reference front end: a 30 ms Hann window every 10 ms, power spectrum, 40 HTK mel bands."""
    return torchaudio.transforms.MelSpectrogram(
        sample_rate=SAMPLE_RATE,
        n_fft=N_FFT,
        win_length=WIN_LENGTH,
        hop_length=HOP_LENGTH,
        f_min=F_MIN,
        f_max=F_MAX,
        n_mels=N_MELS,
        power=2.0,
    )


@torch.inference_mode()
def mel_power(waveforms: Tensor) -> Tensor:
    """``float32[batch, CLIP_SAMPLES]`` -> mel power ``float32[batch, N_MELS, FRAMES]``."""
    return mel_spectrogram()(waveforms)


def log_mel(power: Tensor) -> Tensor:
    """Mel power ``[batch, N_MELS, frames]`` -> its logarithm, each band's mean 0, its deviation at most 1; same shape.

    Taking out each band's mean takes out the recording's level, the microphone's colour and steady hums, so that a
    model need not learn them: the cepstral mean normalisation of speech recognition (Atal 1974), in the mel domain.
    """
    log = torch.log(power + LOG_OFFSET)
    centred = log - log.mean(dim=2, keepdim=True)
    deviation = centred.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return centred / deviation.clamp(min=LEAST_DEVIATION)


def change_speed(waveforms: Tensor, numerator: int, denominator: int) -> Tensor:
    """Play clips ``numerator / denominator`` times as fast, pitch included; same shape, the middle kept in the middle.

    A small integer ratio keeps the polyphase resampler cheap.
    """
    changed = torchaudio.functional.resample(waveforms, numerator, denominator)
    missing = waveforms.shape[-1] - changed.shape[-1]
    left = missing // 2
    return torch.nn.functional.pad(changed, (left, missing - left))  # a negative pad crops
