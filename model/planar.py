"""The network as the exported graph has it: batch normalisation folded away, convolutions in two dimensions.

ONNX Runtime keeps the channels of 2-D convolutions in blocks as wide as a vector register, and does the addition of the
shortcut and the ReLU within them; 1-D convolutions get neither and take 1.7 times as long. So the mel bands' time
series become images that are one row high.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.network import ResidualBlock, TCResNet8


class PlanarTCResNet8(nn.Module):
    """What ``network`` computes when it does not train: ``float32[batch, bands, frames]`` -> logits, a row a clip."""

    def __init__(self, network: TCResNet8) -> None:
        super().__init__()
        self.stem = _planar(network.stem)
        self.blocks = nn.Sequential(*(_PlanarBlock(block) for block in network.blocks))
        self.classifier = network.classifier

    def forward(self, features: Tensor) -> Tensor:
        x: Tensor = self.blocks(self.stem(features[:, :, None]))
        return self.classifier(x.mean(dim=(2, 3)))


class _PlanarBlock(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        assert isinstance(block, ResidualBlock)  # noqa: S101 - a Sequential does not tell its parts' type
        self.conv1 = _planar(fuse_conv_bn_eval(block.conv1, block.norm1))
        self.conv2 = _planar(fuse_conv_bn_eval(block.conv2, block.norm2))
        self.shortcut = _planar(fuse_conv_bn_eval(block.shortcut, block.shortcut_norm))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


def _planar(conv: nn.Conv1d) -> nn.Conv2d:
    """The same convolution over images one row high; its parameters are copies."""
    (kernel,), (stride,), padding = conv.kernel_size, conv.stride, conv.padding[0]
    assert isinstance(padding, int)  # noqa: S101 - for the type checker: a word such as "same" is not used here
    planar = nn.Conv2d(
        *(conv.in_channels, conv.out_channels), (1, kernel), (1, stride), (0, padding), bias=conv.bias is not None
    )
    state = conv.state_dict()
    planar.load_state_dict({**state, "weight": state["weight"][:, :, None]})
    return planar
