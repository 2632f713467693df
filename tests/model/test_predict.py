"""``predict``: what a person at a terminal is told, and what a program reads."""

import json
from pathlib import Path

import numpy as np
import pytest

from kws.audio import CONVERT
from kws.model_file import open_model
from model import export

from .conftest import Cli, done, one_line, tone, wav_bytes, write_files


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A short recording, a longer one, no recording, nothing, and a video."""
    long = wav_bytes(np.stack([tone(600, 2.0, 44_100)] * 2, axis=1), 44_100, "FLAC")
    write_files(tmp_path, {"a": wav_bytes(tone(600, 0.2)), "b": long, "c": b"no sound", "e": b"\x1a\x45\xdf\xa3"})
    return [tmp_path / name for name in "abcde"]


def test_a_table_for_a_person(main: Cli, trained: Path, files: list[Path]) -> None:
    arguments = (files[0], files[1], "--model", trained / "model.onnx")
    header, _, *rows = done(main("predict", *arguments)).strip().splitlines()
    labels = ["low", "high", "_unknown_", "_silence_"]
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["file", "heard", *labels]
    assert [str(name) in row for name, row in zip(files, rows, strict=False)][:2] == [True, True]
    windows = done(main("predict", "--windows", *arguments[1:])).splitlines()
    assert sum(" s " in line for line in windows) == 5  # at 0, 0.25, 0.5, 0.75 and 1 s
    assert sum(" s *" in line for line in windows) == 1


@pytest.mark.parametrize("accepted", [True, False])
def test_a_keyword_below_the_threshold_is_not_accepted(
    main: Cli, trained: Path, files: list[Path], tmp_path: Path, accepted: bool
) -> None:
    said = {**open_model(trained / "model.onnx").info.metadata, "labels": '["a", "b", "c", "d"]'}
    said["threshold"] = "0.001" if accepted else "1.0"
    own = write_files(tmp_path, {"own": export.with_metadata((trained / "model.onnx").read_bytes(), said)}) / "own"
    told = json.loads(done(main("predict", files[0], "--model", own, "--json")))
    assert told["file"] == str(files[0])
    assert told["prediction"] == max(told["probabilities"], key=told["probabilities"].get)
    assert sum(told["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert ([window["start"] for window in told["windows"]], told["accepted"]) == ([0.0], accepted)
    shown = done(main("predict", files[0], "--model", own))
    assert (f"({told['prediction']})" in shown) == ("below the model's threshold of 1.00" in shown) == (not accepted)


def test_what_cannot_be_read_is_one_line_and_the_rest_is_answered(main: Cli, trained: Path, files: list[Path]) -> None:
    result = main("predict", *files, "--model", trained / "model.onnx")
    assert one_line(result) == (
        f"error: '{files[2]}' cannot be heard: The file is no audio; '{files[3]}' cannot be read (no such file or "
        f"directory); give a recording; '{files[4]}' cannot be heard: The file is WebM or Matroska, which is not read "
        f"here; {CONVERT}"
    )
    assert str(files[0]) in result.stdout
    assert "does not exist; give" in one_line(main("predict", files[0], "--model", files[3]))
    assert "cannot be used (" in one_line(main("predict", files[0], "--model", files[2]))
