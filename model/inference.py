"""The exported file as its users run it: ONNX Runtime, waveform in, probabilities out, and what its metadata say."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.errors import UserError
from model.settings import is_keyword

Waveforms = npt.NDArray[np.float32]  # [clips, samples], full scale 1
Probabilities = npt.NDArray[np.float32]  # [clips, classes]

INPUT, OUTPUT = "waveform", "probabilities"
_BATCH = 64
_NEEDED = ("labels", "sample_rate", "clip_samples", "model_version")


@dataclass(frozen=True)
class OnnxModel:
    """A loaded model; call it with ``float32[clips, clip_samples]``, any number of clips.

    Attributes:
        labels: the classes in the order of the outputs.
        clip_samples: samples of one clip.
        threshold: below this probability a keyword is not accepted; None where the file does not say.
        metadata: all that the file says of itself.
    """

    session: Any = field(repr=False)
    labels: tuple[str, ...]
    clip_samples: int
    threshold: float | None
    metadata: dict[str, str]

    @property
    def keywords(self) -> tuple[str, ...]:
        """The labels that are words to be spotted, without ``_unknown_`` and ``_silence_``."""
        return tuple(label for label in self.labels if is_keyword(label))

    def __call__(self, waveforms: Waveforms) -> Probabilities:
        """Probabilities ``float32[clips, classes]``."""
        parts = [
            self.session.run([OUTPUT], {INPUT: np.ascontiguousarray(waveforms[start : start + _BATCH])})[0]
            for start in range(0, len(waveforms), _BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)), np.float32)


def load(data: bytes, name: str, threads: int = 0) -> OnnxModel:
    """A model from the bytes of its file; ``threads`` 0: as ONNX Runtime sees fit. ``name`` is for messages.

    Raises:
        UserError: no model that ``python -m model train`` exports.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False  # it keeps what the largest batch took
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(f"model '{name}' cannot be loaded ({reason}); give a model.onnx of a training run") from error
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    if missing := [key for key in _NEEDED if not metadata.get(key)]:
        raise UserError(f"model '{name}' lacks the metadata {', '.join(missing)}; give a model.onnx of a training run")
    try:
        labels = tuple(str(label) for label in json.loads(metadata["labels"]))
        threshold = float(metadata["threshold"]) if metadata.get("threshold") else None
        return OnnxModel(session, labels, int(metadata["clip_samples"]), threshold, metadata)
    except (ValueError, TypeError) as error:
        raise UserError(f"model '{name}' has broken metadata ({error}); give a model.onnx of a training run") from error


def open_model(path: Path, threads: int = 0) -> OnnxModel:
    """A model from its file.

    Raises:
        UserError: nothing there, or no such model.
    """
    if not path.is_file():
        raise UserError(f"model '{path}' does not exist; train one with `python -m model train`, or give its path")
    return load(path.read_bytes(), str(path), threads)
