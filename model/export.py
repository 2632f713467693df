"""One ONNX file from waveform to probabilities, checked against PyTorch before anybody gets it."""

import copy
import hashlib
import io
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model import features
from model.errors import ParityError
from model.front_end import FoldedMelPower
from model.network import ResidualBlock, TCResNet8
from model.settings import CLIP_SAMPLES

PARITY_LIMIT = 1e-4
INPUT, OUTPUT = "waveform", "probabilities"
OPSET = 18


class Classifier(nn.Module):
    """``float32[batch, CLIP_SAMPLES]`` at full scale 1 -> probabilities ``float32[batch, classes]``."""

    def __init__(self, front_end: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.front_end = front_end
        self.network = network

    def forward(self, waveform: Tensor) -> Tensor:
        return torch.softmax(self.network(features.log_mel(self.front_end(waveform))), dim=1)


def model_version(network: nn.Module) -> str:
    """The first 12 hex digits of the SHA-256 over the weights, names and shapes included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def checkpoint(network: nn.Module, config: Mapping[str, Any], labels: tuple[str, ...]) -> bytes:
    """``best_model.pth``: weights, configuration and labels; loads with ``torch.load(..., weights_only=True)``."""
    buffer = io.BytesIO()
    content = {"weights": network.state_dict(), "config": dict(config), "labels": list(labels)}
    torch.save({**content, "model_version": model_version(network)}, buffer)
    return buffer.getvalue()


def export_onnx(network: TCResNet8, metadata: Mapping[str, str]) -> bytes:
    """The network behind its features, batch normalisation folded away, with ``metadata`` as ``metadata_props``."""
    import onnx

    model = Classifier(FoldedMelPower(), _fold_norms(network)).eval()
    example = torch.zeros(2, CLIP_SAMPLES)
    # The exporter warns about its own internals (torchvision's absence, deprecated helpers); nothing a user can mend.
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in noisy]
    try:
        for logger in noisy:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    finally:
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    proto = program.model_proto
    _strip(proto)
    onnx.helper.set_model_props(proto, dict(metadata))
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def check_parity(onnx_model: bytes, network: nn.Module, waveforms: Tensor, limit: float = PARITY_LIMIT) -> float:
    """The largest difference of probabilities between the exported model and PyTorch with torchaudio's features.

    ``waveforms float32[clips, CLIP_SAMPLES]``: real clips, all of which are compared.

    Raises:
        ParityError: it is above ``limit``, or not a number.
    """
    import onnxruntime

    reference = Classifier(features.mel_spectrogram(), network).eval()
    session = onnxruntime.InferenceSession(onnx_model, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in waveforms.split(64):
        with torch.inference_mode():
            expected = reference(batch).numpy()
        (got,) = session.run([OUTPUT], {INPUT: batch.numpy()})
        difference = float(np.abs(got - expected).max())
        if not difference <= limit:
            raise ParityError(
                f"the exported model's probabilities differ from PyTorch's by {difference:.2e} (limit {limit:.0e}); "
                "nothing was written"
            )
        worst = max(worst, difference)
    return worst


def _fold_norms(network: TCResNet8) -> TCResNet8:
    folded = copy.deepcopy(network).eval()
    for block in folded.modules():
        if isinstance(block, ResidualBlock):
            for conv, norm in (("conv1", "norm1"), ("conv2", "norm2"), ("shortcut", "shortcut_norm")):
                setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
                setattr(block, norm, nn.Identity())
    return folded


def _strip(proto: Any) -> None:
    """Drop the exporter's debugging notes: a fifth of the file, with paths of the machine it was made on."""
    graph = proto.graph
    proto.doc_string = graph.doc_string = ""
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
