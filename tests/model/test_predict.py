"""``predict``: what a person at a terminal is told, and what a program reads."""

import json
from pathlib import Path

import numpy as np
import pytest

from kws.audio import CONVERT
from model import export
from model.network import TCResNet8

from .conftest import Cli, done, one_line, tone, wav_bytes, write_files

METADATA = {
    "labels": '["low", "high", "_unknown_"]',
    "sample_rate": "16000",
    "clip_samples": "16000",
    "model_version": "0123456789ab",
    "threshold": "0.001",
}


@pytest.fixture(scope="module")
def model(network: TCResNet8, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(export.export_onnx(network, METADATA, temperature=10.0))
    return path


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    stereo = np.stack([tone(400, 2.0, 44_100)] * 2, axis=1)
    files = {"a.wav": wav_bytes(tone(400, 0.5)), "long.flac": wav_bytes(stereo, 44_100, "FLAC"), "b.wav": b"no sound"}
    return write_files(tmp_path, files)


def test_a_table_for_a_person(model: Path, main: Cli, recordings: Path) -> None:
    files = (recordings / "a.wav", recordings / "long.flac")
    header, _, *rows = done(main("predict", *files, "--model", model)).strip().splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["file", "heard", "low", "high", "_unknown_"]
    assert [str(name) in row for name, row in zip(files, rows, strict=True)] == [True, True]
    windows = done(main("predict", "--windows", files[1], "--model", model)).strip().splitlines()
    assert len(windows) == 2 + 5  # at 0, 0.25, 0.5, 0.75 and 1 s
    assert sum(" s *" in line for line in windows) == 1


@pytest.mark.parametrize("accepted", [True, False])
def test_a_keyword_below_the_threshold_is_not_accepted(
    model: Path, main: Cli, recordings: Path, tmp_path: Path, accepted: bool
) -> None:
    labels = {"labels": '["low", "high", "other"]', "threshold": "0.001" if accepted else "1.0"}
    (tmp_path / "own.onnx").write_bytes(export.with_metadata(model.read_bytes(), {**METADATA, **labels}))
    arguments = ("predict", recordings / "a.wav", "--model", tmp_path / "own.onnx")
    (line,) = done(main(*arguments, "--json")).splitlines()
    told = json.loads(line)
    assert told["file"] == str(recordings / "a.wav")
    assert told["prediction"] == max(told["probabilities"], key=told["probabilities"].get)
    assert sum(told["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert ([window["start"] for window in told["windows"]], told["accepted"]) == ([0.0], accepted)
    shown = done(main(*arguments))
    hints = (f"({told['prediction']})" in shown, "below the model's threshold of 1.00" in shown)
    assert hints == (not accepted, not accepted)


def test_what_cannot_be_read_is_one_line_and_the_rest_is_answered(model: Path, main: Cli, recordings: Path) -> None:
    (recordings / "d.wav").write_bytes(b"\x1a\x45\xdf\xa3")
    names = [recordings / name for name in ("a.wav", "b.wav", "c.wav", "d.wav")]
    result = main("predict", *names, "--model", model)
    assert one_line(result) == (
        f"error: '{names[1]}' cannot be heard: The file is no audio; '{names[2]}' cannot be read (no such file or "
        f"directory); give a recording; '{names[3]}' cannot be heard: The file is WebM or Matroska, which is not read "
        f"here; {CONVERT}"
    )
    assert str(names[0]) in result.stdout
    (recordings / "no.onnx").write_bytes(b"no model")
    for name, message in (("missing.onnx", "does not exist; give"), ("no.onnx", "cannot be used (")):
        assert message in one_line(main("predict", names[0], "--model", recordings / name))
