"""``model.onnx``: windows of a waveform in, probabilities out, and what its metadata say of it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kws.audio import Waveform
from kws.detection import DEFAULT_THRESHOLD, Probabilities, Rule, is_keyword

INPUT, OUTPUT = "waveform", "probabilities"
REMEDY = "give a model.onnx that `python -m model train` wrote"
BATCH = 2  # windows at once: the activations of more take memory and gain no time


class ModelError(Exception):
    """The model file is missing, broken or not such a model; the message is one line with the remedy."""


@dataclass(frozen=True)
class ModelInfo:
    """The model's identity, as its file states it."""

    labels: tuple[str, ...]  # in the order of the model's outputs
    sample_rate: int  # Hz
    clip_samples: int  # of one window
    version: str
    sha256: str  # of the file
    revision: str  # of the source that it was trained with, empty where the file does not say
    threshold: float  # from which a clip's keyword is accepted
    rule: Rule  # for detections in running audio
    metadata: dict[str, str]  # all that the file says

    @property
    def keywords(self) -> tuple[str, ...]:
        """The labels that are words to be spotted."""
        return tuple(filter(is_keyword, self.labels))


class Model:
    """A loaded model. Thread-safe; to be made after a fork, which no session survives.

    Args:
        data: the bytes of the file.
        name: of the file, for messages.
        threads: of ONNX Runtime for one call.

    Raises:
        ModelError: not ONNX, or not the interface that its metadata promise.
    """

    def __init__(self, data: bytes, name: str, threads: int = 1) -> None:
        # Not with this module, which gunicorn's main process imports: workers that inherit ONNX Runtime abort
        # or hang at their end.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        # A pattern is one large block for each run at a time: megabytes a thread, for a hundredth of the time.
        options.enable_mem_pattern = False
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            self.info = _read_info(self._session, hashlib.sha256(data).hexdigest())
            self._try_out()
        except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
            reason = str(error).strip().split("\n", 1)[0]
            raise ModelError(f"model '{name}' cannot be used ({reason}); {REMEDY}") from None

    def __call__(self, windows: Waveform) -> Probabilities:
        """Probabilities float32[windows, classes] of float32[windows, clip_samples], any number of them."""
        batches = [
            self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(windows[start : start + BATCH])})[0]
            for start in range(0, len(windows), BATCH)
        ]
        if not batches:
            return np.empty((0, len(self.info.labels)), np.float32)
        return batches[0] if len(batches) == 1 else np.concatenate(batches)

    def _try_out(self) -> None:
        """Warm up, and see that the model keeps its promise: one and several windows, silence and noise."""
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, self.info.clip_samples)).astype(np.float32)
        for windows in (np.zeros_like(noise[:1]), noise):
            found, shape = self(windows), (len(windows), len(self.info.labels))
            if found.shape != shape:
                raise ValueError(f"it answers {shape[0]} windows with the shape {found.shape}, not {shape}")
            if not np.allclose(found.sum(axis=1), 1.0, atol=1e-3) or found.min() < 0:
                raise ValueError("it does not answer with probabilities, which sum to 1")


def read_model(path: Path, sha256: str = "") -> bytes:
    """The bytes of a model file; judged without ONNX Runtime, as gunicorn's main process must.

    Raises:
        ModelError: it cannot be read, is empty, or has another digest than the one expected.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"model '{path}' does not exist; {REMEDY}") from None
    except OSError as error:
        raise ModelError(f"model '{path}' cannot be read ({error.strerror}); {REMEDY}") from None
    if not data:
        raise ModelError(f"model '{path}' is empty; {REMEDY}")
    if sha256 and (digest := hashlib.sha256(data).hexdigest()) != sha256:
        raise ModelError(f"model '{path}' has the SHA-256 {digest}, not {sha256}; give the file that has")
    return data


def open_model(path: Path, sha256: str = "", threads: int = 1) -> Model:
    """A model from its file.

    Raises:
        ModelError: nothing there, or no such model.
    """
    return Model(read_model(path, sha256), str(path), threads)


def _read_info(session: Any, sha256: str) -> ModelInfo:
    """What the metadata say, each value checked against the graph. Raises ValueError."""
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    if missing := [key for key in ("labels", "sample_rate", "clip_samples", "model_version") if not metadata.get(key)]:
        raise ValueError(f"it lacks the metadata {', '.join(missing)}")
    labels = json.loads(metadata["labels"]) if metadata["labels"].startswith("[") else []
    words = isinstance(labels, list) and all(isinstance(label, str) and label for label in labels)
    if not words or len(labels) < 2 or len(set(labels)) != len(labels):
        raise ValueError("its labels are no JSON list of two different words or more")
    threshold = float(metadata.get("threshold", DEFAULT_THRESHOLD))
    sample_rate, clip_samples = int(metadata["sample_rate"]), int(metadata["clip_samples"])
    for name, value, low, high in (
        ("threshold", threshold, 1e-6, 1.0),
        ("sample_rate", sample_rate, 1_000, 384_000),
        ("clip_samples", clip_samples, 160, 3_840_000),
    ):
        if not low <= value <= high:
            raise ValueError(f"its {name} is {value}; {low:g} to {high:g} makes sense")
    rule = Rule.from_json(metadata["detection"]) if "detection" in metadata else Rule(threshold=threshold)
    for tensors, tensor, size in (
        (session.get_inputs(), INPUT, clip_samples),
        (session.get_outputs(), OUTPUT, len(labels)),
    ):
        shapes = [(each.name, each.type, *each.shape[1:]) for each in tensors]
        unstated = [(tensor, "tensor(float)", each.shape[1]) for each in tensors if isinstance(each.shape[1:2], str)]
        if shapes not in ([(tensor, "tensor(float)", size)], unstated):
            raise ValueError(f"it has {shapes} where {tensor} float32[batch, {size}] is promised")
    return ModelInfo(
        tuple(labels),
        sample_rate,
        clip_samples,
        metadata["model_version"],
        sha256,
        metadata.get("revision", ""),
        threshold,
        rule,
        metadata,
    )
