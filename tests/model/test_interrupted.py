"""A run that is stopped or fails leaves its log, no half-written artefact, and an earlier output as it was."""

import errno
import logging
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import export, files, run
from model.data.recording import write_clip
from model.errors import Interrupted, UserError
from model.train import save_state

from .conftest import QUICK, Cli, one_line


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output that an earlier run has left."""
    (tmp_path / "out/model").mkdir(parents=True)
    (tmp_path / "out/model/train_metrics.json").write_text("of an earlier run")
    return tmp_path / "out/model"


def check_left(line: str, output: Path, last_line: str) -> None:
    """The former output as it was, and beside it the log, whose place the error's line ends with."""
    log = output.with_name("model.log")
    assert line.endswith(f"; the log is {log}")
    assert log.read_text().splitlines()[-1].split(" ERROR ")[1].startswith(last_line)
    assert [path.read_text() for path in output.iterdir()] == ["of an earlier run"]
    assert {path.name for path in output.parent.iterdir()} == {"model", "model.log", "model.resume"}


@pytest.mark.parametrize(
    ("failure", "code", "message", "last_line"),
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM; the output is as it was; --resume goes on after", "stopped by S"),
        (signal.SIGINT, 130, "stopped by SIGINT; the output is as it was; --resume goes on after", "stopped by S"),
        (UserError("training diverged"), 2, "training diverged", "training diverged"),
        (OSError(errno.ENOSPC, "full", "x"), 2, "no space left on the disk for the output or the cache", "[Errno 28]"),
        (PermissionError(errno.EACCES, "No", "x"), 2, "'x' cannot be read or written (no); mend it", "[Errno 13]"),
    ],
)
def test_a_run_that_ends_early_leaves_its_log(
    main: Cli, output: Path, monkeypatch: pytest.MonkeyPatch, failure: Any, code: int, message: str, last_line: str
) -> None:
    def fail(_settings: object, folder: Path, state: Path, *_: object) -> None:
        state.mkdir()
        (folder / "model.onnx").touch()
        logging.getLogger("model.run").info("reading")
        if isinstance(failure, BaseException):
            raise failure
        signal.raise_signal(failure)

    monkeypatch.setattr(run, "run", fail)
    line = one_line(main("train", "--output", output), code)
    assert line.startswith(f"error: {message}")
    check_left(line, output, last_line)
    assert " INFO reading\n" in output.with_name("model.log").read_text()


def test_a_model_that_computes_something_else_is_not_written(
    main: Cli, tones: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PARITY", -1.0)
    line = one_line(main("train", *QUICK, "--epochs", "1", "--dataset", tones, "--output", output), code=1)
    message = "the exported model's probabilities differ from PyTorch's by "
    assert line.startswith(f"error: {message}")
    check_left(line, output, message)


def test_what_gets_in_the_way_meanwhile_stays_and_so_does_the_log(
    main: Cli, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run", lambda *_: (output / "thesis.txt").write_text("mine"))
    assert "holds other files, which would be lost" in one_line(main("train", "--output", output))
    assert output.with_name("model.log").is_file()
    assert (output / "thesis.txt").read_text() == "mine"


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


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("clip.wav", lambda path: write_clip(path, np.zeros(100))),
        ("clip.flac", lambda path: write_clip(path, np.zeros(100))),
        ("state.new", lambda path: save_state(path.with_suffix(".pt"), {}, {})),
    ],
)
def test_a_full_disk_is_told_as_one(tmp_path: Path, name: str, write: Any) -> None:
    """soundfile and torch, which write by themselves, would raise errors of their own: a traceback."""
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as raised:
        write(tmp_path / name)
    assert files.no_space(raised.value)
