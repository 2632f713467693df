"""Log-mel features: mel power (computed once a clip, cached) and its normalised logarithm (what a network sees)."""

from functools import lru_cache

import torch
import torchaudio
from torch import Tensor

from model.settings import CLIP_SAMPLES, SAMPLE_RATE

N_FFT = 512  # the window's length, too: 32 ms
HOP_LENGTH = 256  # 16 ms
BIN_STEP = 2  # every second bin: 62.5 Hz apart, as far as the window's main lobe reaches to either side
N_MELS = 40
F_MIN, F_MAX = 20.0, 7600.0
FRAMES = 1 + (CLIP_SAMPLES - N_FFT) // HOP_LENGTH  # whole windows, none padded
LOG_OFFSET = 1e-6
LEAST_DEVIATION = 0.1  # speech deviates by 2, noise by 0.6: less is silence, whose rounding errors must not be blown up
FRONT_END = {
    "n_fft": N_FFT,
    "hop_length": HOP_LENGTH,
    "center": False,
    "periodic": False,
    "bin_step": BIN_STEP,
    "n_mels": N_MELS,
    "f_min": F_MIN,
    "f_max": F_MAX,
    "log_offset": LOG_OFFSET,
}


class MelSpectrogram(torch.nn.Module):
    """The reference front end: a 32 ms Hann window every 16 ms, power of every second bin, 40 HTK mel bands.

    ``float32[batch, CLIP_SAMPLES]`` -> ``float32[batch, N_MELS, FRAMES]``. Every second bin is enough for the mel bands
    and half the work; windows are symmetric and never padded so that the exported graph can fold them
    (``model/front_end.py``).
    """

    def __init__(self) -> None:
        super().__init__()
        self.spectrogram = torchaudio.transforms.Spectrogram(
            n_fft=N_FFT, hop_length=HOP_LENGTH, power=2.0, center=False, wkwargs={"periodic": False}
        )
        self.mel_scale = torchaudio.transforms.MelScale(
            n_mels=N_MELS, sample_rate=SAMPLE_RATE, f_min=F_MIN, f_max=F_MAX, n_stft=N_FFT // 2 // BIN_STEP + 1
        )

    def forward(self, waveforms: Tensor) -> Tensor:
        power: Tensor = self.spectrogram(waveforms)
        return self.mel_scale(power[:, ::BIN_STEP])


@lru_cache(maxsize=1)
def mel_spectrogram() -> MelSpectrogram:
    """The reference front end, made once."""
    return MelSpectrogram()


@torch.inference_mode()
def mel_power(waveforms: Tensor) -> Tensor:
    """``float32[batch, CLIP_SAMPLES]`` -> mel power ``float32[batch, N_MELS, FRAMES]``."""
    power: Tensor = mel_spectrogram()(waveforms)
    return power


def log_mel(power: Tensor) -> Tensor:
    """Mel power ``[batch, N_MELS, frames]`` -> its logarithm, each band's mean 0, its deviation at most 1; same shape.

    Taking out each band's mean takes out the recording's level, the microphone's colour and steady hums, so that a
    model need not learn them: the cepstral mean normalisation of speech recognition (Atal 1974), in the mel domain.
    """
    log = torch.log(power + LOG_OFFSET)
    centred = log - log.mean(dim=2, keepdim=True)
    deviation = (centred * centred).mean(dim=(1, 2), keepdim=True).sqrt()
    return centred / deviation.clamp(min=LEAST_DEVIATION)


def change_speed(waveforms: Tensor, numerator: int, denominator: int) -> Tensor:
    """Play clips ``numerator / denominator`` times as fast, pitch included; same shape, the middle kept in the middle.

    A small integer ratio keeps the polyphase resampler cheap.
    """
    changed = torchaudio.functional.resample(waveforms, numerator, denominator)
    missing = waveforms.shape[-1] - changed.shape[-1]
    left = missing // 2
    return torch.nn.functional.pad(changed, (left, missing - left))  # a negative pad crops
