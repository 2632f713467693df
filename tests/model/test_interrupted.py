"""A run that is stopped, killed or fails leaves no half-written artefact and an earlier output as it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from model import export, files
from model.artefacts import is_former_run

from .conftest import ROOT, Cli, command, one_line, tone_files, write_files


def _former(tmp_path: Path) -> Path:
    output = tmp_path / "out/model"
    output.mkdir(parents=True)
    (output / "train_metrics.json").write_text("of an earlier run")
    return output


def _start(data: Path, output: Path) -> "subprocess.Popen[str]":
    arguments = ("train", "--labels", "low,high", "--dataset", data, "--output", output, "--epochs", "10000")
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout
    for line in process.stdout:  # in the middle of training
        if line.startswith("epoch   2/"):
            return process
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_nothing(tmp_path: Path, signum: signal.Signals) -> None:
    data, output = write_files(tmp_path / "tones", tone_files()), _former(tmp_path)
    process = _start(data, output)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    left = "the output is as it was; --resume goes on after the last whole epoch"
    assert stderr == f"error: stopped by {signum.name}; {left}\n"
    assert sorted(path.name for path in output.parent.iterdir()) == ["model", "model.resume"]
    assert (output / "train_metrics.json").read_text() == "of an earlier run"


def test_a_killed_run_leaves_the_output_alone_and_the_next_run_tidies_up(tmp_path: Path) -> None:
    data, output = write_files(tmp_path / "tones", tone_files()), _former(tmp_path)
    process = _start(data, output)
    process.kill()
    process.communicate(timeout=60)
    assert [path.name for path in output.iterdir()] == ["train_metrics.json"]
    assert (output / "train_metrics.json").read_text() == "of an earlier run"
    assert any(path.name.startswith(".model.") for path in output.parent.iterdir())
    with files.atomic_directory(output, is_former_run) as folder:
        (folder / "model.onnx").touch()
    assert sorted(path.name for path in output.parent.iterdir()) == ["model", "model.resume"]
    assert [path.name for path in output.iterdir()] == ["model.onnx"]


def test_a_failed_parity_check_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main: Cli) -> None:
    data, output = write_files(tmp_path / "tones", tone_files()), _former(tmp_path)
    whole = export.export_onnx

    def spoilt(network: export.TCResNet8, metadata: dict[str, str], temperature: float) -> bytes:
        with torch.no_grad():
            network.classifier.bias[0] += 0.01
        exported = whole(network, metadata, temperature)
        with torch.no_grad():
            network.classifier.bias[0] -= 0.01
        return exported

    monkeypatch.setattr(export, "export_onnx", spoilt)
    arguments = ("--labels", "low,high", "--dataset", data, "--output", output)
    result = main("train", *arguments, "--profile", "quick", "--epochs", "1")
    assert "the exported model's probabilities differ from PyTorch's by " in one_line(result, code=1)
    assert sorted(path.name for path in output.parent.iterdir()) == ["model", "model.resume"]
    assert (output / "train_metrics.json").read_text() == "of an earlier run"


def test_an_output_is_replaced_whole(tmp_path: Path) -> None:
    output = tmp_path / "out"
    for content in ("one", "two"):
        with files.atomic_directory(output, lambda _: True) as folder:
            (folder / content).write_text(content)
            assert (not output.exists()) == (content == "one")
    assert [path.name for path in output.iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_exception_leaves_the_former_output(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with files.atomic_directory(output, lambda _: True) as folder:
        (folder / "one").touch()

    def fail() -> None:
        with files.atomic_directory(output, lambda _: True) as folder:
            (folder / "two").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in output.iterdir()] == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_working_folder_in_use_is_not_tidied_away(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with files.atomic_directory(output, lambda _: True) as first:
        script = (
            "import sys; from pathlib import Path; from model import files\n"
            "with files.atomic_directory(Path(sys.argv[1]), lambda _: True) as folder: (folder / 'second').touch()"
        )
        subprocess.run([sys.executable, "-c", script, output], cwd=ROOT, check=True, timeout=60)
        assert first.exists()
        (first / "first").touch()
    assert [path.name for path in output.iterdir()] == ["first"]


def test_a_lock_makes_a_second_process_wait(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from model import files\nwith files.locked(Path(sys.argv[1])): pass"
    with files.locked(tmp_path / "lock"):
        process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "lock"], cwd=ROOT)
        time.sleep(1)
        assert process.poll() is None
    assert process.wait(timeout=60) == 0
