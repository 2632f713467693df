"""``model.onnx``: windows of a waveform in, probabilities out, and what its metadata say of it."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kws.audio import MAX_RATE, MIN_RATE, Waveform
from kws.detection import DEFAULT_THRESHOLD, Probabilities, Rule, check_bounds

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
    sensitivities: dict[str, float]  # other thresholds of the rule, by name: low, medium, high
    metadata: dict[str, str]  # all that the file says


class Model:
    """A loaded model, thread-safe, from the bytes of its file; ``name`` is for messages, ``threads`` are of one call.

    To be made after a fork, which no session survives. Raises ModelError where it is not what its metadata promise.
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
            self.info = _read_info(self._session.get_modelmeta().custom_metadata_map, hashlib.sha256(data).hexdigest())
            self._try_out()
        except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
            raise ModelError(f"model '{name}' cannot be used ({' '.join(str(error).split())}); {REMEDY}") from None

    def __call__(self, windows: Waveform) -> Probabilities:
        """Probabilities float32[windows, classes] of float32[windows, clip_samples], any number of them."""
        batches = (np.ascontiguousarray(windows[start : start + BATCH]) for start in range(0, len(windows), BATCH))
        found = [self._session.run([OUTPUT], {INPUT: batch})[0] for batch in batches]
        none = np.empty((0, len(self.info.labels)), np.float32)
        return found[0] if len(found) == 1 else np.concatenate([none, *found])

    def _try_out(self) -> None:
        """Warm up, and see that the model keeps its promise: one and several windows, silence and noise."""
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, self.info.clip_samples)).astype(np.float32)
        for windows in (np.zeros_like(noise[:1]), noise):
            (found,), shape = self._session.run([OUTPUT], {INPUT: windows}), (len(windows), len(self.info.labels))
            if found.dtype != np.float32 or found.shape != shape:
                raise ValueError(f"it answers with {found.dtype}{list(found.shape)}, not float32{list(shape)}")
            if not np.allclose(found.sum(axis=1), 1.0, atol=1e-3) or found.min() < 0:
                raise ValueError("it does not answer with probabilities, which sum to 1")


def read_model(path: Path, sha256: str = "") -> bytes:
    """The bytes of a model file; judged without ONNX Runtime, as gunicorn's main process must.

    Raises ModelError where it cannot be read, is empty, or has another digest than the one expected.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        trouble = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise ModelError(f"model '{path}' {trouble}; {REMEDY}") from None
    if not data:
        raise ModelError(f"model '{path}' is empty; {REMEDY}")
    if sha256 and (digest := hashlib.sha256(data).hexdigest()) != sha256:
        raise ModelError(f"model '{path}' has the SHA-256 {digest}, not {sha256}; give the file that has")
    return data


def open_model(path: Path, sha256: str = "", threads: int = 1) -> Model:
    """A model from its file. Raises ModelError."""
    return Model(read_model(path, sha256), str(path), threads)


def _read_info(metadata: dict[str, str], sha256: str) -> ModelInfo:
    """What the metadata say. Raises ValueError."""
    if missing := [key for key in ("labels", "sample_rate", "clip_samples", "model_version") if not metadata.get(key)]:
        raise ValueError(f"it lacks the metadata {', '.join(missing)}")
    labels = json.loads(metadata["labels"]) if metadata["labels"].startswith("[") else []
    if len(labels) < 2 or not all(isinstance(label, str) and label for label in labels) or len({*labels}) < len(labels):
        raise ValueError("its labels are no JSON list of two different words or more")
    sample_rate, clip_samples = int(metadata["sample_rate"]), int(metadata["clip_samples"])
    threshold = float(metadata.get("threshold", DEFAULT_THRESHOLD))
    check_bounds("sample_rate", sample_rate, MIN_RATE, MAX_RATE)
    check_bounds("clip_samples", clip_samples, 160, 3_840_000)
    check_bounds("threshold", threshold, 1e-6, 1)
    rule = Rule(**json.loads(metadata["detection"])) if "detection" in metadata else Rule(threshold=threshold)
    others = json.loads(metadata.get("sensitivities", "{}"))
    others = {name: replace(rule, threshold=at).threshold for name, at in others.items()}
    about = metadata["model_version"], sha256, metadata.get("revision", "")
    return ModelInfo(tuple(labels), sample_rate, clip_samples, *about, threshold, rule, others, dict(metadata))
