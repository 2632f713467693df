"""The features as plain tensor operations, for the exported graph: mel power by a folded DFT.

ONNX Runtime's own Fourier transform is slow on a CPU, and a DFT written as one convolution costs 8 million
multiplications a clip. Of every second bin the basis repeats after half a window: the halves of a windowed frame, which
are two hops, are added up first. It is symmetric about the middle of what is left, and a frame's phase does not matter:
with ``x`` counted from one end and ``y`` from the other, the cosine part needs only ``x + y`` and the sine part
``x - y``. Each of the two folds halves the work.
"""

import math

import torch
from torch import Tensor, nn

from model import features
from model.settings import CLIP_SAMPLES

_HOP = features.HOP_LENGTH
_USED = (features.FRAMES + 1) * _HOP  # samples of a clip


class FoldedMelPower(nn.Module):
    """``float32[batch, CLIP_SAMPLES]`` -> mel power ``float32[batch, N_MELS, FRAMES]``, as ``features.mel_power``."""

    rising: Tensor
    falling: Tensor
    cos: Tensor
    sin: Tensor
    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        if 2 * _HOP != features.N_FFT or features.BIN_STEP != 2 or _USED > CLIP_SAMPLES:
            raise ValueError("the folded front end takes every second bin of windows of two hops within the clip")
        window = torch.hann_window(features.N_FFT, periodic=False)
        self.register_buffer("rising", window[:_HOP].clone())
        self.register_buffer("falling", window[_HOP:].clone())
        bank = features.mel_spectrogram().mel_scale.fb  # [N_FFT / 4 + 1, N_MELS]
        used = bank.sum(dim=1).nonzero().flatten()
        from_end = torch.arange(_HOP // 2, dtype=torch.float64) + 0.5  # which is half a sample before the first
        angle = 2 * math.pi / _HOP * torch.outer(from_end, used.double())
        self.register_buffer("cos", angle.cos().float())
        self.register_buffer("sin", angle.sin().float())
        self.register_buffer("mel", bank[used].clone())

    def forward(self, waveforms: Tensor) -> Tensor:
        hops = waveforms[:, :_USED].reshape(-1, features.FRAMES + 1, _HOP)
        frames = hops[:, :-1] * self.rising + hops[:, 1:] * self.falling
        x, y = frames[:, :, : _HOP // 2], frames[:, :, _HOP // 2 :].flip(2)
        power = _square((x + y) @ self.cos) + _square((x - y) @ self.sin)
        return (power @ self.mel).transpose(1, 2)


def _square(x: Tensor) -> Tensor:
    return x * x  # `square` is exported as the slower Pow
