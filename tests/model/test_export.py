"""The exported file: its contract with the service, and parity with PyTorch."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from model import export, inference
from model.errors import ParityError
from model.network import TCResNet8
from service.classifier import Classifier

METADATA = {"labels": '["a", "b", "c"]', "sample_rate": "16000", "clip_samples": "16000", "model_version": "0"}


def load(exported: bytes) -> inference.OnnxModel:
    return inference.load(exported, "the export")


@pytest.fixture(scope="module")
def exported(network: TCResNet8) -> bytes:
    return export.export_onnx(network, METADATA)


@pytest.fixture(scope="module")
def waveforms() -> torch.Tensor:
    return torch.randn(70, 16_000, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 0, 70)[:, None]


def test_batches_of_any_size_give_probabilities(exported: bytes, waveforms: torch.Tensor) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape[1]) for i in session.get_inputs()] == [("waveform", "tensor(float)", 16_000)]
    assert [(o.name, o.shape[1]) for o in session.get_outputs()] == [("probabilities", 3)]
    assert isinstance(session.get_inputs()[0].shape[0], str)
    (together,) = session.run(None, {"waveform": waveforms.numpy()})
    assert together.shape == (70, 3)
    np.testing.assert_allclose(together.sum(axis=1), 1.0, atol=1e-5)
    (alone,) = session.run(None, {"waveform": waveforms[:1].numpy()})
    np.testing.assert_allclose(alone, together[:1], atol=1e-5)


def test_the_export_computes_what_pytorch_does(network: TCResNet8, exported: bytes, waveforms: torch.Tensor) -> None:
    parity = export.measure_parity(load(exported), network, 1.0, waveforms.numpy())
    assert (parity.clips, parity.other_answers, parity.holds) == (70, 0, True)
    assert 0 < parity.max_difference < export.PARITY_LIMIT
    export.check_parity(parity)


def test_the_temperature_is_in_the_graph(network: TCResNet8, waveforms: torch.Tensor) -> None:
    hot = load(export.export_onnx(network, METADATA, temperature=3.0))
    assert export.measure_parity(hot, network, 3.0, waveforms.numpy()).holds
    assert not export.measure_parity(hot, network, 1.0, waveforms.numpy()).holds


def test_another_network_s_export_fails_parity(exported: bytes, waveforms: torch.Tensor) -> None:
    torch.manual_seed(1)
    parity = export.measure_parity(load(exported), TCResNet8(3, width=1.0).eval(), 1.0, waveforms.numpy())
    assert parity.other_answers > 0
    with pytest.raises(ParityError, match=r"differ from PyTorch's by .*nothing was written"):
        export.check_parity(parity)


def test_parity_of_what_is_no_number_fails(network: TCResNet8, exported: bytes, waveforms: torch.Tensor) -> None:
    broken = waveforms.numpy().copy()
    broken[0] = np.nan  # and a good batch after it
    parity = export.measure_parity(load(exported), network, 1.0, broken)
    assert np.isnan(parity.max_difference)
    with pytest.raises(ParityError):
        export.check_parity(parity)


def test_metadata_replace_what_was_there(exported: bytes) -> None:
    changed = load(export.with_metadata(exported, {**METADATA, "threshold": "0.7"}))
    assert (changed.metadata["threshold"], changed.threshold) == ("0.7", 0.7)
    bare = onnx.load_from_string(export.with_metadata(exported, {"a": "b"}))
    assert {item.key: item.value for item in bare.metadata_props} == {"a": "b"}


def test_the_version_is_the_weights(network: TCResNet8) -> None:
    version = export.model_version(network)
    assert len(version) == 12
    assert int(version, 16) >= 0
    other = TCResNet8(3, width=1.0)
    other.load_state_dict(network.state_dict())
    assert export.model_version(other) == version
    with torch.no_grad():
        other.classifier.bias[0] += 1e-6
    assert export.model_version(other) != version


def test_the_artefact_carries_the_contract(trained: Path) -> None:
    content = (trained / "model.onnx").read_bytes()
    properties = load(content).metadata
    metrics = json.loads((trained / "train_metrics.json").read_text())
    evaluation = json.loads((trained / "evaluation.json").read_text())
    assert json.loads(properties["labels"])[:4] == ["up", "down", "yes", "no"]
    assert (properties["sample_rate"], properties["clip_samples"]) == ("16000", "16000")
    assert properties["model_version"] == metrics["model_version"] == properties["weights_sha256"][:12]
    assert len(properties["weights_sha256"]) == 64
    assert properties["data_digest"] == metrics["data"]["digest"]
    assert properties["licence"] == "CC0 1.0"
    assert "espeak-ng" in properties["attribution"]
    assert properties["revision"] == "of-the-test"
    assert float(properties["temperature"]) == evaluation["calibration"]["temperature"]
    assert float(properties["threshold"]) == evaluation["operating"]["threshold"]
    assert json.loads(properties["detection"]) == evaluation["streaming"]["rule"]
    figures = json.loads(properties["metrics"])
    assert figures["accuracy"] == round(evaluation["accuracy"], 4)
    assert figures["test_clips"] == evaluation["n"]
    assert len(content) <= 1_000_000
    for part in (b"site-packages", b"front_end.py", str(Path(__file__).parents[2]).encode()):
        assert part not in content  # neither paths nor stack traces of the machine it was made on


def test_the_service_takes_what_is_exported(trained: Path) -> None:
    info = Classifier(trained / "model.onnx").info
    evaluation = json.loads((trained / "evaluation.json").read_text())
    assert list(info.labels) == evaluation["labels"]
    assert info.version == evaluation["model_version"]
    assert info.revision == "of-the-test"
    assert info.threshold == evaluation["operating"]["threshold"]


def test_the_checkpoint_loads_as_weights_only_and_gives_the_same_model(trained: Path) -> None:
    content = torch.load(trained / "best_model.pth", weights_only=True)
    checkpoint = export.load_checkpoint(trained / "best_model.pth")
    assert tuple(content["labels"]) == checkpoint.labels
    assert export.model_version(checkpoint.network) == content["model_version"]
    waveforms = torch.randn(4, 16_000, generator=torch.Generator().manual_seed(1)) * 0.1
    model = load((trained / "model.onnx").read_bytes())
    assert model.labels == checkpoint.labels
    assert export.measure_parity(model, checkpoint.network, checkpoint.temperature, waveforms.numpy()).holds
