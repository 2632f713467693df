"""One ONNX file from waveform to probabilities, checked against PyTorch before anybody gets it."""

import hashlib
import io
import logging
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model import features
from model.errors import ParityError, UserError, differences
from model.front_end import FoldedMelPower
from model.gates import PARITY as PARITY_LIMIT
from model.inference import INPUT, OUTPUT, Probabilities, Waveforms
from model.network import TCResNet8
from model.planar import PlanarTCResNet8
from model.settings import CLIP_SAMPLES

OPSET = 18


class Classifier(nn.Module):
    """``float32[batch, CLIP_SAMPLES]`` at full scale 1 -> probabilities ``float32[batch, classes]``.

    ``temperature`` divides the logits: calibration (``model/calibration.py``).
    """

    def __init__(self, front_end: nn.Module, network: nn.Module, temperature: float = 1.0) -> None:
        super().__init__()
        self.front_end = front_end
        self.network = network
        self.temperature = temperature

    def forward(self, waveform: Tensor) -> Tensor:
        logits = self.network(features.log_mel(self.front_end(waveform)))
        return torch.softmax(logits / self.temperature, dim=1)


def weights_sha256(network: nn.Module) -> str:
    """The SHA-256 over the weights, names and shapes included, as 64 hex digits: the model's identity."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def model_version(network: nn.Module) -> str:
    """The first 12 hex digits of ``weights_sha256``: what people and log lines call the model."""
    return weights_sha256(network)[:12]


@dataclass(frozen=True)
class Checkpoint:
    """What ``best_model.pth`` holds; the settings and the temperature are in ``config``."""

    network: TCResNet8
    config: dict[str, Any]
    labels: tuple[str, ...]

    @property
    def temperature(self) -> float:
        """What the logits are divided by."""
        return float(self.config.get("temperature", 1.0))

    def to_bytes(self) -> bytes:
        """Weights, configuration and labels; loads with ``torch.load(..., weights_only=True)``."""
        buffer = io.BytesIO()
        content = {"weights": self.network.state_dict(), "config": self.config, "labels": list(self.labels)}
        torch.save({**content, "model_version": model_version(self.network)}, buffer)
        return buffer.getvalue()


def load_checkpoint(path: Path) -> Checkpoint:
    """A ``best_model.pth`` from its file.

    Raises:
        UserError: nothing there, or no checkpoint of this trainer.
    """
    if not path.is_file():
        raise UserError(f"checkpoint '{path}' does not exist; give the best_model.pth of the model's training run")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        labels = tuple(content["labels"])
        if others := differences(content["config"]["front_end"], features.FRONT_END):
            raise UserError(
                f"checkpoint '{path}' was trained on other features ({others}); use it with the revision that made it, "
                "or train anew"
            )
        network = TCResNet8(len(labels), width=content["config"]["width"])
        network.load_state_dict(content["weights"])
        return Checkpoint(network.eval(), dict(content["config"]), labels)
    except (KeyError, TypeError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(f"checkpoint '{path}' is none of this trainer ({reason}); give a best_model.pth") from error


def with_metadata(onnx_model: bytes, metadata: Mapping[str, str]) -> bytes:
    """The same model with ``metadata`` as its ``metadata_props``, in place of what it had."""
    import onnx

    proto = onnx.load_from_string(onnx_model)
    onnx.helper.set_model_props(proto, dict(metadata))
    return bytes(proto.SerializeToString())


def export_onnx(network: TCResNet8, metadata: Mapping[str, str], temperature: float = 1.0) -> bytes:
    """The network, in evaluation, behind its features, as it runs fastest; ``metadata`` as ``metadata_props``."""
    import onnx

    model = Classifier(FoldedMelPower(), PlanarTCResNet8(network), temperature).eval()
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


@dataclass(frozen=True)
class Parity:
    """How near the exported model is to PyTorch with torchaudio's own features.

    Attributes:
        clips: how many were compared.
        max_difference: the largest difference of a probability; NaN where one is not a number.
        other_answers: clips whose likeliest class differs.
    """

    clips: int
    max_difference: float
    other_answers: int

    @property
    def holds(self) -> bool:
        """Within ``PARITY_LIMIT``, and never another answer."""
        return self.max_difference <= PARITY_LIMIT and self.other_answers == 0


def measure_parity(
    run: Callable[[Waveforms], Probabilities], network: nn.Module, temperature: float, waveforms: Waveforms
) -> Parity:
    """Compare the exported model ``run`` with the network it was made of, on ``float32[clips, CLIP_SAMPLES]``."""
    reference = Classifier(features.mel_spectrogram(), network, temperature).eval()
    worst, others = 0.0, 0
    for batch in torch.from_numpy(waveforms).split(64):
        with torch.inference_mode():
            expected = reference(batch).numpy()
        got = run(batch.numpy())
        worst = float(np.maximum(worst, np.abs(got - expected).max()))  # a NaN stays
        others += int((got.argmax(axis=1) != expected.argmax(axis=1)).sum())
    return Parity(len(waveforms), worst, others)


def check_parity(parity: Parity) -> None:
    """See that a model may leave the trainer.

    Raises:
        ParityError: it does not compute what the trained network does.
    """
    if not parity.holds:
        raise ParityError(
            f"the exported model's probabilities differ from PyTorch's by {parity.max_difference:.2e} (limit "
            f"{PARITY_LIMIT:.0e}), {parity.other_answers} of {parity.clips} answers differ; nothing was written"
        )


def _strip(proto: Any) -> None:
    """Drop the exporter's debugging notes: a fifth of the file, with paths of the machine it was made on."""
    graph = proto.graph
    proto.doc_string = graph.doc_string = ""
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
