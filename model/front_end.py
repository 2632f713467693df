"""The features as plain tensor operations, for the exported graph: mel power by a folded DFT.

ONNX Runtime's own Fourier transform is slow on a CPU, and a DFT written as one convolution costs 26 million
multiplications a clip. The window is symmetric about its middle and a frame's phase does not matter, so with ``m``
counted from the middle of the frame the cosine part needs only ``x[m] + x[-m]`` and the sine part ``x[m] - x[-m]``:
half the work. Folding once more about ``m = 128`` (a quarter of the 512-point circle), where cosine and sine of even
and odd bins are even or odd in turn, halves it again. Reversed frames come from blocks of one hop, each reversed once.
"""

import math

import torch
from torch import Tensor, nn

from model import features

_QUARTER = features.N_FFT // 4
_HALF = features.WIN_LENGTH // 2
_BLOCK = features.HOP_LENGTH
_START = 2 * _QUARTER - _HALF + 1  # the second fold meets the window only from here on: 17


class FoldedMelPower(nn.Module):
    """``float32[batch, CLIP_SAMPLES]`` -> mel power ``float32[batch, N_MELS, FRAMES]``, as ``features.mel_power``."""

    near: Tensor
    far: Tensor
    cos_even: Tensor
    sin_even: Tensor
    cos_odd: Tensor
    sin_odd: Tensor
    mel_even: Tensor
    mel_odd: Tensor

    def __init__(self) -> None:
        super().__init__()
        if 3 * _BLOCK != features.WIN_LENGTH:
            raise ValueError("the folded front end cuts a window into three hops")
        window = torch.hann_window(features.WIN_LENGTH, dtype=torch.float64)
        m = torch.arange(_QUARTER + 1, dtype=torch.float64)
        # m = 0 and m = 128 stand for one sample each but are met twice when folding: halve them.
        near = window[_HALF : _HALF + _QUARTER + 1].clone()
        far = window[1 : _QUARTER - _START + 2].clone()
        near[0] /= 2
        near[-1] /= 2
        far[-1] /= 2
        self.register_buffer("near", near.float())
        self.register_buffer("far", far.float())

        bank = features.mel_spectrogram().mel_scale.fb  # [N_FFT / 2 + 1, N_MELS]
        used = bank.sum(dim=1).nonzero().flatten()
        for name, parity in (("even", 0), ("odd", 1)):
            bins = used[used % 2 == parity]
            angle = 2 * math.pi / features.N_FFT * torch.outer(m, bins.double())
            self.register_buffer(f"cos_{name}", angle.cos().float())
            self.register_buffer(f"sin_{name}", angle.sin().float())
            self.register_buffer(f"mel_{name}", bank[bins].clone())

    def forward(self, waveforms: Tensor) -> Tensor:
        # Reflected by 240, not by 256: the 512-point frame around a window of 480 begins and ends with 16 zeros.
        padded = nn.functional.pad(waveforms[:, None], (_HALF, _HALF), mode="reflect")[:, 0]
        blocks = padded.reshape(-1, features.FRAMES + 2, _BLOCK)
        turned = blocks.flip(2)
        frames = torch.cat([blocks[:, :-2], blocks[:, 1:-1], blocks[:, 2:]], dim=2)  # sample n
        mirror = torch.cat([turned[:, 2:], turned[:, 1:-1], turned[:, :-2]], dim=2)  # sample 479 - n

        right, left = frames[:, :, _HALF : _HALF + _QUARTER + 1], mirror[:, :, _HALF - 1 : _HALF + _QUARTER]
        even, odd = (right + left) * self.near, (right - left) * self.near
        # The same sums at 256 - m, for m from 17 to 128.
        size = _QUARTER - _START + 1
        right, left = mirror[:, :, :size], frames[:, :, 1 : size + 1]
        far_even, far_odd = (nn.functional.pad(side * self.far, (_START, 0)) for side in (right + left, right - left))
        power = [
            _square((even + far_even) @ self.cos_even) + _square((odd - far_odd) @ self.sin_even),
            _square((even - far_even) @ self.cos_odd) + _square((odd + far_odd) @ self.sin_odd),
        ]
        return (power[0] @ self.mel_even + power[1] @ self.mel_odd).transpose(1, 2)


def _square(x: Tensor) -> Tensor:
    return x * x  # `square` is exported as the slower Pow
