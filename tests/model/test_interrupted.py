"""A run that is stopped or fails leaves its log, no half-written artefact, and an earlier output as it was."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model import export, files, run, train
from model.errors import Interrupted, UserError

from .conftest import QUICK, ROOT, Cli, command, one_line


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output that an earlier run has left."""
    output = tmp_path / "out/model"
    output.mkdir(parents=True)
    (output / run.METRICS).write_text("of an earlier run")
    return output


def untouched(output: Path) -> bool:
    return [path.read_text() for path in output.iterdir()] == ["of an earlier run"]


def last_line(output: Path) -> str:
    return output.with_name("model.log").read_text().splitlines()[-1]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_leaves_its_log_and_what_it_needs_to_go_on(
    tones: Path, output: Path, signum: signal.Signals
) -> None:
    arguments = command("train", *QUICK, "--dataset", tones, "--output", output, "--epochs", "10000")
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert any(line.startswith("epoch   2/") for line in process.stdout)  # in the middle of training
    process.send_signal(signum)
    _, stderr = process.communicate()
    assert untouched(output)
    left = {path.name for path in output.parent.iterdir()}
    if signum == signal.SIGKILL:
        assert len(left) == 4
        with files.atomic_directory(output, lambda _: True):  # the next run tidies up
            pass
        assert {path.name for path in output.parent.iterdir()} == {"model", "model.resume", "model.log"}
        return
    assert process.returncode == 128 + signum
    goes_on = "the output is as it was; --resume goes on after the last whole epoch"
    assert stderr == f"error: stopped by {signum.name}; {goes_on}; the log is {output}.log\n"
    assert left == {"model", "model.resume", "model.log"}
    assert last_line(output).endswith(f"ERROR stopped by signal {signum.value}")


def _diverging(*_: Any) -> None:
    raise UserError("training diverged in epoch 1 (loss nan); lower --learning-rate")


@pytest.mark.parametrize(
    ("where", "name", "value", "code", "message"),
    [
        (train, "train", _diverging, 2, "training diverged in epoch 1 (loss nan); lower --learning-rate"),
        (
            export,
            "check_parity",
            export.check_parity,
            1,
            "the exported model's probabilities differ from PyTorch's by ",
        ),
    ],
)
def test_a_failed_run_leaves_its_log(
    main: Cli, tones: Path, output: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, value: Any,
    code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(where, name, value)
    if code == 1:
        monkeypatch.setattr(export, "PARITY", 0.0)
    line = one_line(main("train", *QUICK, "--dataset", tones, "--output", output), code)
    assert line.startswith(f"error: {message}")
    assert line.endswith(f"; the log is {output}.log")
    assert f" ERROR {message}" in last_line(output)
    assert "words to tell apart: low, high" in output.with_name("model.log").read_text()
    assert untouched(output)
    assert not list(output.parent.glob(".*"))


def test_an_output_that_got_in_the_way_meanwhile_costs_no_log(
    main: Cli, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run", lambda *_: (output / "thesis.txt").write_text("mine"))
    assert "holds other files, which would be lost" in one_line(main("train", "--output", output))
    assert output.with_name("model.log").is_file()
    assert (output / "thesis.txt").read_text() == "mine"


def test_an_output_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    output = tmp_path / "out"
    for content in ("one", "two"):
        with files.atomic_directory(output, lambda _: True) as folder:
            (folder / content).write_text(content)
            assert (not output.exists()) == (content == "one")
    for error in (RuntimeError(), Interrupted(15)):
        with pytest.raises(type(error)), files.atomic_directory(output, lambda _: True):
            raise error
    assert [path.name for path in output.iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


SECOND = """
import sys
from pathlib import Path
from model import files
print(flush=True)
with files.locked(Path(sys.argv[2])), files.atomic_directory(Path(sys.argv[1]), lambda _: True) as folder:
    (folder / "second").touch()
print("done")
"""


def test_a_working_folder_in_use_is_not_tidied_away_and_a_lock_makes_others_wait(tmp_path: Path) -> None:
    output, lock = tmp_path / "out", tmp_path / "lock"
    with files.atomic_directory(output, lambda _: True) as first:
        with files.locked(lock):
            arguments = [sys.executable, "-c", SECOND, output, lock]
            process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            assert process.stdout
            assert process.stdout.readline() == "\n"
            assert process.poll() is None
            assert not output.exists()
        assert process.communicate()[0] == "done\n"
        assert [path.name for path in output.iterdir()] == ["second"]
        (first / "first").touch()
    assert [path.name for path in output.iterdir()] == ["first"]
