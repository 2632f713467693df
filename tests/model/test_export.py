"""The exported file: its contract with the service, and parity with PyTorch."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from model import export
from model.errors import ParityError
from model.network import TCResNet8


@pytest.fixture(scope="module")
def network() -> TCResNet8:
    """Untrained, with normalisation statistics that folding has to get right."""
    torch.manual_seed(0)
    network = TCResNet8(3, width=1.0)
    network.train()
    for _ in range(3):
        network(torch.randn(16, 40, 101) * 2 + 1)
    return network.eval()


@pytest.fixture(scope="module")
def exported(network: TCResNet8) -> bytes:
    return export.export_onnx(network, {"labels": '["a", "b", "c"]', "sample_rate": "16000"})


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
    assert 0 < export.check_parity(exported, network, waveforms) < export.PARITY_LIMIT


def test_another_network_s_export_fails_parity(exported: bytes, waveforms: torch.Tensor) -> None:
    torch.manual_seed(1)
    with pytest.raises(ParityError, match=r"differ from PyTorch's by .*nothing was written"):
        export.check_parity(exported, TCResNet8(3, width=1.0).eval(), waveforms)


def test_parity_of_what_is_no_number_fails(network: TCResNet8, exported: bytes) -> None:
    with pytest.raises(ParityError):
        export.check_parity(exported, network, torch.full((1, 16_000), float("nan")))


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
    model = onnx.load(trained / "model.onnx")
    properties = {item.key: item.value for item in model.metadata_props}
    metrics = json.loads((trained / "train_metrics.json").read_text())
    assert json.loads(properties["labels"]) == ["up", "down", "yes", "no"]
    assert (properties["sample_rate"], properties["clip_samples"]) == ("16000", "16000")
    assert properties["model_version"] == metrics["model_version"]
    assert properties["data_digest"] == metrics["data"]["digest"]
    assert properties["licence"] == "CC0 1.0"
    content = (trained / "model.onnx").read_bytes()
    assert len(content) <= 1_000_000
    for part in (b"site-packages", b"front_end.py", str(Path(__file__).parents[2]).encode()):
        assert part not in content  # neither paths nor stack traces of the machine it was made on


def test_the_checkpoint_loads_as_weights_only_and_gives_the_same_model(trained: Path) -> None:
    checkpoint = torch.load(trained / "best_model.pth", weights_only=True)
    assert checkpoint["labels"] == ["up", "down", "yes", "no"]
    network = TCResNet8(4, width=checkpoint["config"]["width"])
    network.load_state_dict(checkpoint["weights"])
    assert export.model_version(network) == checkpoint["model_version"]
    waveforms = torch.randn(4, 16_000, generator=torch.Generator().manual_seed(1)) * 0.1
    assert export.check_parity((trained / "model.onnx").read_bytes(), network, waveforms) < 1e-4
