"""TC-ResNet8: temporal convolutions over log-mel bands (Choi et al. 2019, arXiv:1904.03814).

The mel bands are the input *channels*, so that each convolution runs over time and sees all frequencies at once. On a
CPU such dense convolutions train many times faster than the depthwise ones, over time and frequency, of rival networks.

They are written as 2-D ones over images one row high: for these PyTorch has a layout (channels last) and ONNX Runtime
another (blocks of channels) that take two thirds of the time of 1-D ones.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn


class ResidualBlock(nn.Module):
    """Two temporal convolutions, the first halving the frame rate, beside a 1x1 shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, outputs, 9, 2)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = _convolution(outputs, outputs, 9)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = _convolution(inputs, outputs, 1, 2)
        self.shortcut_norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, inputs, 1, frames]`` -> ``[batch, outputs, 1, ceil(frames / 2)]``."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut_norm(self.shortcut(x)))


class TCResNet8(nn.Module):
    """Log-mel features -> logits. ``width`` multiplies the paper's channels 16, 24, 32, 48.

    They are rounded to whole multiples of 16, the blocks in which a CPU's vector units work: others train slower.
    """

    def __init__(self, classes: int, width: float, dropout: float = 0.0, bands: int = 40) -> None:
        super().__init__()
        stem, *widths = (max(16, round(channels * width / 16) * 16) for channels in (16, 24, 32, 48))
        self.stem = _convolution(bands, stem, 3)
        self.blocks = nn.Sequential(*(ResidualBlock(i, o) for i, o in zip([stem, *widths], widths, strict=False)))
        self.dropout = dropout
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, features: Tensor, generator: Generator | None = None) -> Tensor:
        """``float32[batch, bands, frames]`` -> logits ``float32[batch, classes]``; any number of frames from 1.

        In training, dropout draws from ``generator``: torch's own has one for all threads.
        """
        x = self.blocks(self.stem(features[:, :, None])).mean(dim=(2, 3))
        if self.training and self.dropout > 0:
            kept = torch.rand(x.shape, generator=generator) >= self.dropout
            x = x * kept / (1 - self.dropout)
        return self.classifier(x)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Over time, with a frame in the middle of the kernel."""
    return nn.Conv2d(inputs, outputs, (1, kernel), (1, stride), (0, kernel // 2), bias=False)
