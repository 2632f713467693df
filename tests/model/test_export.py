"""The exported file: its contract with the service, and parity with PyTorch."""

import copy
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from kws.model_file import Model, open_model
from model import export
from model.errors import ParityError
from model.network import TCResNet8

from .conftest import REVISION, ROOT, read

METADATA = {"labels": '["a", "b", "c"]', "sample_rate": "16000", "clip_samples": "16000", "model_version": "0"}
WAVEFORMS = np.random.default_rng(0).standard_normal((70, 16_000), np.float32)
WAVEFORMS *= np.logspace(-4, 0, 70, dtype=np.float32)[:, None]


@pytest.fixture(scope="module")
def network() -> TCResNet8:
    """Untrained, with normalisation statistics that folding has to get right."""
    torch.manual_seed(0)
    network = TCResNet8(3, width=1.0)
    network.train()
    for _ in range(3):
        network(torch.randn(16, 40, 61) * 2 + 1)
    return network.eval()


@pytest.fixture(scope="module")
def exported(network: TCResNet8) -> bytes:
    return export.with_metadata(export.export_onnx(network, temperature=3.0), METADATA)


def test_parity(network: TCResNet8, exported: bytes) -> None:
    model, other, waveforms = Model(exported, "m"), copy.deepcopy(network), WAVEFORMS.copy()
    parity = export.measure_parity(model, network, 3.0, waveforms)
    assert (parity["clips"], 0 < parity["max_difference"] < export.PARITY) == (70, True)
    export.check_parity(parity)
    with torch.no_grad():
        other.classifier.bias[0] += 0.01
    waveforms[0] *= np.nan  # and a good batch after it
    for changed in ((other, 3.0, WAVEFORMS), (network, 1.0, WAVEFORMS), (network, 3.0, waveforms)):
        with pytest.raises(ParityError, match=r"differ from PyTorch's by .*nothing was written"):
            export.check_parity(export.measure_parity(model, *changed))


def test_the_version_is_all_that_an_answer_depends_on(network: TCResNet8) -> None:
    decided = {"temperature": "1.0", "threshold": "0.500", "detection": "{}", "labels": '["a"]'}
    version, other = export.model_version(network, decided), copy.deepcopy(network)
    assert (len(version), int(version, 16) >= 0) == (12, True)
    assert export.model_version(other, dict(reversed(decided.items()))) == version
    assert len({export.model_version(network, {**decided, name: "x"}) for name in decided} | {version}) == 5
    with torch.no_grad():
        other.classifier.bias[0] += 1e-6
    assert export.model_version(other, decided) != version


def test_the_artefact_carries_the_contract(trained: Path) -> None:
    content, info = (trained / "model.onnx").read_bytes(), open_model(trained / "model.onnx").info
    metrics, evaluation = read(trained, "train_metrics.json", "evaluation.json")
    proto = onnx.load_from_string(content)
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", 18)]
    assert proto.ir_version == 8  # which onnxruntime has known since 1.14, as it has opset 18
    assert (list(info.labels), info.sample_rate, info.clip_samples) == (evaluation["labels"], 16_000, 16_000)
    assert (info.version, info.revision) == (metrics["model_version"], REVISION)
    assert info.threshold == evaluation["operating"]["threshold"]
    assert asdict(info.rule) == evaluation["running_audio"]["rule"]
    said = info.metadata
    named = {"data_digest": evaluation["data_digest"], "licence": "CC0 1.0", "attribution": "nobody"}
    assert {name: said[name] for name in named} == named
    assert float(said["temperature"]) == evaluation["calibration"]["temperature"]
    told = json.loads(said["metrics"])
    assert told["accuracy"] == evaluation["accuracy"]
    assert told["running_audio"]["operating"] == evaluation["running_audio"]["operating"]
    network, held = export.load_checkpoint(trained / "best_model.pth")
    assert (tuple(held["labels"]), repr(held["config"]["temperature"])) == (info.labels, said["temperature"])
    assert export.weights_sha256(network) == said["weights_sha256"]
    decided = {name: said[name] for name in ("temperature", "threshold", "detection", "sensitivities", "labels")}
    assert export.model_version(network, decided) == info.version
    assert len(content) <= 1_000_000
    for part in (b"site-packages", b"export.py", str(ROOT).encode()):
        assert part not in content  # neither paths nor stack traces of the machine it was made on
