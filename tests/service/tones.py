"""A real model with an exact rule, and audio for it: the label is the pure tone that the waveform holds."""

import io
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import soundfile
from onnx import TensorProto, helper, numpy_helper

SAMPLE_RATE = 16_000
CLIP_SAMPLES = 16_000
VERSION = "0123456789ab"
TONES = {"up": 500, "down": 1_000, "yes": 2_000, "no": 3_000}
LABELS = list(TONES)
METADATA = {"sample_rate": str(SAMPLE_RATE), "clip_samples": str(CLIP_SAMPLES)}
METADATA |= {"labels": json.dumps(LABELS), "model_version": VERSION}


def tone_model(metadata: dict[str, str] = METADATA) -> onnx.ModelProto:
    """waveform float32[batch, 16000] -> probabilities float32[batch, 4]: softmax of 8 x relative tone energy."""
    time = np.arange(CLIP_SAMPLES) / SAMPLE_RATE
    phase = 2 * np.pi * time[:, None] * np.array(list(TONES.values()))
    basis = np.concatenate([np.cos(phase), np.sin(phase)], axis=1).astype(np.float32)
    pair_sum = np.concatenate([np.eye(4), np.eye(4)]).astype(np.float32)
    constants = {"basis": basis, "pair_sum": pair_sum, "eight": np.float32(8)}
    steps = [
        helper.make_node("MatMul", ["waveform", "basis"], ["projection"]),
        helper.make_node("Mul", ["projection", "projection"], ["power"]),
        helper.make_node("MatMul", ["power", "pair_sum"], ["energy"]),
        helper.make_node("LpNormalization", ["energy"], ["relative"], p=1),
        helper.make_node("Mul", ["relative", "eight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    tensors: dict[str, list[str | int]] = {"waveform": ["batch", CLIP_SAMPLES], "probabilities": ["batch", len(LABELS)]}
    heard, told = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in tensors.items())
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(steps, "tones", [heard], [told], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    return model


def save_model(path: Path, metadata: dict[str, str] = METADATA) -> Path:
    onnx.save(tone_model(metadata), str(path))
    return path


def save_samples(folder: Path) -> Path:
    """A sample for each label, for readiness; returns the folder."""
    folder.mkdir(exist_ok=True)
    for label in LABELS:
        (folder / f"{label}.wav").write_bytes(wav(label))
    return folder


def tone(label: str, seconds: float = 1.0, rate: int = SAMPLE_RATE, channels: int = 1) -> npt.NDArray[np.float32]:
    """float32[frames, channels]: the tone of `label`, half as loud as can be."""
    time = np.arange(round(seconds * rate)) / rate
    wave = (0.5 * np.sin(2 * np.pi * TONES[label] * time)).astype(np.float32)
    return np.repeat(wave[:, None], channels, axis=1)


def spoken(*labels: str, rate: int = SAMPLE_RATE) -> npt.NDArray[np.float32]:
    """float32[frames, 1]: each word for 0.6 s, a second of silence before it."""
    silence = np.zeros((rate, 1), np.float32)
    return np.concatenate([part for label in labels for part in (silence, tone(label, 0.6, rate))])


def encode(
    samples: npt.NDArray[np.generic], rate: int = SAMPLE_RATE, container: str = "WAV", subtype: str = "PCM_16"
) -> bytes:
    """The samples as the bytes of an audio file."""
    soundfile.write(file := io.BytesIO(), samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def wav(label: str, seconds: float = 1.0, rate: int = SAMPLE_RATE, channels: int = 1) -> bytes:
    """A 16-bit WAV of the tone of `label`."""
    return encode(tone(label, seconds, rate, channels), rate)
