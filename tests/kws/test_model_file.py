"""What a model file must say, and what is said of one that does not."""

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from kws.detection import DEFAULT_THRESHOLD, Rule
from kws.model_file import REMEDY, ModelError, open_model, read_model
from tests.service.tones import LABELS, METADATA, save_model, tone, tone_model


def test_what_the_file_says(tmp_path: Path) -> None:
    rule = Rule(0.2, 4, 0.9, 2.0)
    said = {"detection": json.dumps(asdict(rule)), "threshold": "0.61", "revision": "abc", "note": "kept"}
    path = save_model(tmp_path / "model.onnx", METADATA | said)
    model = open_model(path)
    info = model.info
    assert info.labels == tuple(LABELS)
    assert (info.threshold, info.rule, info.revision, info.metadata["note"]) == (0.61, rule, "abc", "kept")
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    windows = np.stack([tone(label)[:, 0] for label in LABELS])
    assert model(windows).argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert model(windows[:0]).shape == (0, 4)
    info = open_model(save_model(tmp_path / "model.onnx")).info
    assert info.threshold == info.rule.threshold == DEFAULT_THRESHOLD
    assert open_model(save_model(path, METADATA | {"threshold": "0.7"})).info.rule == Rule(threshold=0.7)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("labels", "", "lacks the metadata labels"),
        *(("labels", labels, "labels") for labels in ("up,down", '["up"]', '["up", "down", "yes", "yes"]')),
        ("labels", '["up", "down", "yes"]', "float32[1, 4], not float32[1, 3]"),
        *(("sample_rate", value, value) for value in ("16", "fast")),
        ("clip_samples", "8000", "Got: 8000 Expected: 16000"),
        *(("threshold", threshold, f"threshold is {threshold}") for threshold in ("0", "nan")),
        *(("detection", value, said) for value, said in (("[]", "Rule"), ('{"hop_seconds": -1}', "hop_seconds is -1"))),
    ],
)
def test_wrong_metadata_are_named(tmp_path: Path, name: str, value: str, said: str) -> None:
    path = save_model(tmp_path / "model.onnx", METADATA | {name: value})
    with pytest.raises(ModelError, match=rf"model\.onnx.*{re.escape(said)}.*{re.escape(REMEDY)}$"):
        open_model(path)


def other(op_type: str, name: str = "probabilities") -> bytes:
    """A model whose last step is another: one that gives no probabilities, no numbers, or another output."""
    proto = tone_model()
    proto.graph.node[-1].op_type = op_type
    proto.graph.output[0].name = proto.graph.node[-1].output[0] = name
    return bytes(proto.SerializeToString())


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    for content in (b"", b"x", b"\0" * 100, other("Softmax", "logits"), other("Identity"), other("LogSoftmax")):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"m\.onnx"):
            open_model(path)
    for name, message in (("none", "does not exist"), ("", "cannot be read"), ("m.onnx", "not aaaa")):
        with pytest.raises(ModelError, match=message):
            read_model(tmp_path / name, "aaaa")


def test_the_command_line_tells_what_the_file_says(tmp_path: Path) -> None:
    path = save_model(tmp_path / "model.onnx", METADATA | {"data_digest": "ab", "threshold": "0.6"})
    command = [sys.executable, "-m", "kws"]
    told = json.loads(subprocess.run([*command, path], capture_output=True, check=True).stdout)
    assert (told["labels"], told["threshold"], told["data_digest"], told["revision"]) == (LABELS, 0.6, "ab", "")
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    for arguments in ([], [str(tmp_path / "none")], ["a", "b"]):
        done = subprocess.run([*command, *arguments], capture_output=True)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
