"""``predict``: the service's rule for recordings of any length, and what a person at a terminal is told."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model import export, inference
from model.network import TCResNet8
from model.predict import predict
from service.classifier import Classifier, classify

from .conftest import Cli, one_line, tone, wav_bytes

METADATA = {
    "labels": '["low", "high", "_unknown_"]',
    "sample_rate": "16000",
    "clip_samples": "16000",
    "model_version": "0123456789ab",
}


@pytest.fixture(scope="module")
def model(network: TCResNet8, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(export.export_onnx(network, METADATA))
    return path


@pytest.mark.parametrize("seconds", [0.01, 0.5, 1.0, 1.0001, 1.25, 2.1, 7.77])
def test_the_rule_is_the_service_s(model: Path, seconds: float) -> None:
    rng = np.random.default_rng(round(seconds * 100))
    samples = rng.normal(0, 0.01, round(seconds * 16_000)).astype(np.float32)
    start = rng.integers(0, len(samples))
    samples[start : start + 8000] += tone(400, 0.5)[: len(samples) - start]
    ours = predict(inference.open_model(model), samples)
    theirs = classify(Classifier(model), samples)
    assert ours.starts == [start / 16_000 for start in theirs.starts]
    assert ours.best == theirs.best
    np.testing.assert_allclose(ours.levels, theirs.levels, atol=1e-3)
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-6)


def test_a_table_for_a_person(model: Path, main: Cli, tmp_path: Path) -> None:
    short, stereo = tmp_path / "short.wav", tmp_path / "long.flac"
    short.write_bytes(wav_bytes(tone(400, 0.5)))
    stereo.write_bytes(wav_bytes(np.stack([tone(400, 2.0, 44_100)] * 2, axis=1), 44_100, "FLAC"))
    result = main("predict", short, stereo, "--model", model)
    assert result.returncode == 0, result.stderr
    header, _, *rows = result.stdout.strip().splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["file", "heard", "low", "high", "_unknown_"]
    assert len(rows) == 2
    assert str(short) in rows[0]
    windows = main("predict", "--windows", stereo, "--model", model).stdout.strip().splitlines()
    assert len(windows) == 2 + 5  # at 0, 0.25, 0.5, 0.75 and 1 s
    assert sum(" s *" in line for line in windows) == 1


def test_json_a_line_each(model: Path, main: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(tone(400)))
    (line,) = main("predict", "--json", tmp_path / "a.wav", "--model", model).stdout.splitlines()
    answer = json.loads(line)
    assert answer["file"] == str(tmp_path / "a.wav")
    assert answer["prediction"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert [window["start"] for window in answer["windows"]] == [0.0]


def test_a_keyword_below_the_threshold_is_not_accepted(network: TCResNet8, main: Cli, tmp_path: Path) -> None:
    with torch.no_grad():
        sure = network.classifier.bias.clone()
        network.classifier.bias[0] += 2.0
    (tmp_path / "a.wav").write_bytes(wav_bytes(tone(400)))
    for threshold, accepted in (("0.01", True), ("1.0", False)):
        path = tmp_path / f"{threshold}.onnx"
        path.write_bytes(export.export_onnx(network, {**METADATA, "threshold": threshold}))
        answer = json.loads(main("predict", "--json", tmp_path / "a.wav", "--model", path).stdout)
        assert (answer["prediction"], answer["accepted"]) == ("low", accepted)
        shown = main("predict", tmp_path / "a.wav", "--model", path).stdout
        assert ("(low)" in shown, "below the model's threshold of 1.00" in shown) == (not accepted, not accepted)
    with torch.no_grad():
        network.classifier.bias.copy_(sure)


def test_what_cannot_be_read_is_one_line_and_the_rest_is_answered(model: Path, main: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(tone(400)))
    (tmp_path / "b.wav").write_bytes(b"no sound")
    result = main("predict", tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "c.wav", "--model", model)
    line = one_line(result)
    assert f"'{tmp_path / 'b.wav'}' is not a recording that can be read" in line
    assert f"'{tmp_path / 'c.wav'}' cannot be read (no such file or directory)" in line
    assert str(tmp_path / "a.wav") in result.stdout


def test_what_is_no_model_is_one_line(network: TCResNet8, main: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(tone(400)))
    (tmp_path / "no.onnx").write_bytes(b"no model")
    (tmp_path / "bare.onnx").write_bytes(export.export_onnx(network, {"labels": "[]"}))
    (tmp_path / "bad.onnx").write_bytes(export.export_onnx(network, {**METADATA, "threshold": "high"}))
    for name, message in (
        ("missing.onnx", "does not exist; train one"),
        ("no.onnx", "cannot be loaded ("),
        ("bare.onnx", "lacks the metadata sample_rate, clip_samples, model_version"),
        ("bad.onnx", "has broken metadata ("),
    ):
        assert message in one_line(main("predict", tmp_path / "a.wav", "--model", tmp_path / name))
