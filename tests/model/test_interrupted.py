"""A run that is stopped or fails leaves its log, no half-written artefact, and an earlier output as it was."""

import errno
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import export, files, run
from model.data.recording import write_clip
from model.errors import Interrupted, UserError
from model.train import save_state

from .conftest import QUICK, ROOT, done, main, one_line, write_files

GO_ON = "the output is as it was; --resume goes on after the last whole epoch"


def fails(folder: Path, code: int, message: str, *options: str | Path, last_line: str = "") -> None:
    """Train over the output of an earlier run: it stays as it was, and beside it the log, where the line says."""
    former, log = write_files(folder / "out/model", {"train.log": b"of an earlier run"}), folder / "out/model.log"
    line = one_line(main("train", "--output", former, *options), code)
    assert line.startswith(f"error: {message}")
    assert line.endswith(f"; the log is {log}")
    assert log.read_text().splitlines()[-1].split(" ERROR ")[1].startswith(last_line or message.split(";")[0])
    assert [path.read_text() for path in former.iterdir()] == ["of an earlier run"]
    assert {path.name for path in former.parent.iterdir()} == {"model", "model.log", "model.resume"}


@pytest.mark.parametrize(
    ("failure", "code", "message", "last_line"),
    [
        (signal.SIGTERM, 143, f"stopped by SIGTERM; {GO_ON}", ""),
        (signal.SIGINT, 130, f"stopped by SIGINT; {GO_ON}", ""),
        (UserError("training diverged"), 2, "training diverged", ""),
        (OSError(errno.ENOSPC, "full", "x"), 2, "no space left on the disk for the output or the cache", "[Errno 28]"),
        (PermissionError(errno.EACCES, "No", "x"), 2, "'x' cannot be read or written (no); mend it", "[Errno 13]"),
    ],
)
def test_a_run_that_ends_early_leaves_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Any, code: int, message: str, last_line: str
) -> None:
    def fail(_settings: object, folder: Path, state: Path, *_: object) -> None:
        state.mkdir()
        (folder / "model.onnx").touch()
        if isinstance(failure, BaseException):
            raise failure
        signal.raise_signal(failure)

    monkeypatch.setattr(run, "run", fail)
    fails(tmp_path, code, message, last_line=last_line)


def test_a_model_that_computes_something_else_is_not_written(tones: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(export, "PARITY", -1.0)
    message = "the exported model's probabilities differ from PyTorch's by "
    fails(tmp_path, 1, message, *QUICK, "--epochs", "1", "--dataset", tones)


def test_an_output_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    output = tmp_path / "out"
    (tmp_path / ".out.left.tmp").mkdir()  # by a run that was killed
    with files.atomic_directory(output, lambda _: True) as first:
        with files.atomic_directory(output, lambda _: True) as second:  # does not tidy the first away, which is in use
            (second / "second").touch()
        (first / "first").touch()
    for error in (RuntimeError(), Interrupted(15)):
        with pytest.raises(type(error)), files.atomic_directory(output, lambda _: True):
            raise error
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"out", "out/first"}


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    """soundfile and torch, which write by themselves, would raise errors of their own: a traceback."""
    clip, state = tmp_path / "clip.flac", tmp_path / "state.new"
    for path, write in ((clip, lambda: write_clip(clip, np.zeros(100))), (state, lambda: save_state(state, {}, {}))):
        path.symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left") as raised:
            write()
        assert files.no_space(raised.value)


@pytest.mark.timeout(1800)  # against a hang: a process of its own takes minutes where the machine is busy
def test_a_run_killed_for_good_goes_on(tones: Path, tmp_path: Path) -> None:
    killed = ("train", *QUICK, "--dataset", tones, "--epochs", "6", "--output", tmp_path / "killed")
    process = subprocess.Popen([sys.executable, "-m", "model", *killed], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert any(line.startswith("epoch   3/") for line in process.stdout)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed").exists()
    assert "--epochs 6 there, 7 here" in one_line(main(*killed, "--resume", "--epochs", "7"))
    said = done(main(*killed, "--resume", "--threads", "3", "--licence", "mine"))
    assert ("going on after epoch" in said, "epoch   1/6" in said) == (True, False)
    assert {path.name for path in tmp_path.iterdir()} == {"killed"}
