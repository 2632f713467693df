"""One ONNX file from waveform to probabilities, and the checkpoint that it was made of.

The graph has the network of ``network.py``, batch normalisation folded away, behind the features of ``features.py`` in
the form that ONNX Runtime runs fastest; ``measure_parity`` compares it with PyTorch's own.
"""

import hashlib
import json
import logging
import math
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from kws.audio import Waveform
from kws.model_file import INPUT, OUTPUT, Model
from model import features
from model.errors import ParityError, UserError, differences, first_sentence
from model.network import TCResNet8
from model.settings import CLIP_SAMPLES

OPSET = 18
PARITY = 1e-4  # of a probability
_HOP = features.HOP_LENGTH
_USED = (features.FRAMES + 1) * _HOP  # samples of a clip


class Classifier(nn.Module):
    """``float32[batch, CLIP_SAMPLES]`` at full scale 1 -> probabilities ``float32[batch, classes]``, calibrated."""

    def __init__(self, front_end: nn.Module, network: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.front_end, self.network, self.temperature = front_end, network, temperature

    def forward(self, waveform: Tensor) -> Tensor:
        logits = self.network(features.log_mel(self.front_end(waveform)))
        return torch.softmax(logits / self.temperature, dim=1)


class FoldedMelPower(nn.Module):
    """``float32[batch, CLIP_SAMPLES]`` -> mel power ``float32[batch, N_MELS, FRAMES]``, as ``features.mel_power``.

    ONNX Runtime's own Fourier transform is slow on a CPU, a DFT as one convolution costs 8 million multiplications. The
    basis of every second bin repeats after half a window: the halves of a windowed frame, two hops, are added up
    first. What is left is symmetric, and a frame's phase does not matter: with ``x`` counted from one end and ``y``
    from the other, the cosine part needs only ``x + y`` and the sine part ``x - y``. Each fold halves the work.
    """

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(features.N_FFT, periodic=False)
        bank = features.mel_power.mel_scale.fb  # [N_FFT / 4 + 1, N_MELS]
        used = bank.sum(dim=1).nonzero().flatten()
        from_end = torch.arange(_HOP // 2, dtype=torch.float64) + 0.5  # which is half a sample before the first
        angle = 2 * math.pi / _HOP * torch.outer(from_end, used.double())
        self.rising, self.falling = nn.Buffer(window[:_HOP].clone()), nn.Buffer(window[_HOP:].clone())
        self.cos, self.sin = nn.Buffer(angle.cos().float()), nn.Buffer(angle.sin().float())
        self.mel = nn.Buffer(bank[used].clone())

    def forward(self, waveforms: Tensor) -> Tensor:
        hops = waveforms[:, :_USED].reshape(-1, features.FRAMES + 1, _HOP)
        frames = hops[:, :-1] * self.rising + hops[:, 1:] * self.falling
        x, y = frames[:, :, : _HOP // 2], frames[:, :, _HOP // 2 :].flip(2)
        even, odd = (x + y) @ self.cos, (x - y) @ self.sin
        return ((even * even + odd * odd) @ self.mel).transpose(1, 2)  # `square` is exported as the slower Pow


def export_onnx(network: TCResNet8, temperature: float = 1.0) -> bytes:
    """The network, in evaluation, behind its features; without metadata."""
    import onnx

    model = Classifier(FoldedMelPower(), fuse(network.eval()), temperature).eval()
    # The exporter tells of its own internals (torchvision's absence, deprecated helpers); nothing a user can mend.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                model,
                (torch.zeros(2, CLIP_SAMPLES),),
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    finally:
        logging.disable(logging.NOTSET)
    proto = program.model_proto  # type: ignore[union-attr]
    # The exporter writes the newest version of the format, which older runtimes refuse though they know the opset.
    proto.ir_version = onnx.helper.find_min_ir_version_for(proto.opset_import)
    # Its debugging notes are a fifth of the file, with paths of the machine it was made on.
    graph = proto.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def with_metadata(onnx_model: bytes, metadata: Mapping[str, str]) -> bytes:
    import onnx

    proto = onnx.load_from_string(onnx_model)
    onnx.helper.set_model_props(proto, dict(metadata))
    return bytes(proto.SerializeToString())


def measure_parity(model: Model, network: nn.Module, temperature: float, waveforms: Waveform) -> dict[str, Any]:
    """How near the exported model is to PyTorch with torchaudio's own features, on ``float32[clips, CLIP_SAMPLES]``:
    the ``max_difference`` of a probability, NaN where one is no number, and how many answers are of another class."""
    reference = Classifier(features.mel_power, network, temperature).eval()
    with torch.inference_mode():
        expected = np.concatenate([reference(batch).numpy() for batch in torch.from_numpy(waveforms).split(64)])
    got = model(waveforms)
    others = int((got.argmax(axis=1) != expected.argmax(axis=1)).sum())
    return {"clips": len(got), "max_difference": float(np.abs(got - expected).max()), "other_answers": others}


def check_parity(parity: Mapping[str, Any]) -> None:
    """Raises ParityError: the exported model does not compute what the trained network does, so it must not leave."""
    clips, worst, others = (parity[name] for name in ("clips", "max_difference", "other_answers"))
    if not (worst <= PARITY and others == 0):
        differ = f"differ from PyTorch's by {worst:.2e} (limit {PARITY:.0e}), {others} of {clips} answers differ"
        raise ParityError(f"the exported model's probabilities {differ}; nothing was written")


def model_version(network: nn.Module, decided: Mapping[str, str]) -> str:
    """12 hex digits over all that an answer depends on: the weights, and what else the file says decides it."""
    content = weights_sha256(network) + json.dumps(dict(sorted(decided.items())))
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def weights_sha256(network: nn.Module) -> str:
    """The SHA-256 over the weights, names and shapes included, as 64 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_checkpoint(path: Path) -> tuple[TCResNet8, dict[str, Any]]:
    """The network of a ``best_model.pth``, and all that it holds. Raises UserError: it is none of this trainer's."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        if others := differences(content["config"]["front_end"], features.FRONT_END):
            remedy = "use it with the revision that made it, or train anew"
            raise UserError(f"checkpoint '{path}' was trained on other features ({others}); {remedy}")
        network = TCResNet8(len(content["labels"]), width=content["config"]["width"])
        network.load_state_dict(content["weights"])
    except (KeyError, TypeError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = first_sentence(error)
        raise UserError(f"checkpoint '{path}' is none of this trainer ({reason}); give a best_model.pth") from error
    return network.eval(), content
