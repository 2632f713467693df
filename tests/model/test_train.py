"""Training: the same weights each time, the best ones kept, going on after a stop; what a run that fails leaves."""

import dataclasses
import errno
import math
import re
import signal
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import numpy as np
import pytest
import torch

from model import export, files, provenance, run, train
from model.corpus import Corpus
from model.data.recording import write_clip
from model.errors import Interrupted, UserError
from model.network import TCResNet8
from model.settings import make_settings

from .conftest import QUICK, ROOT, corpus_of, done, main, one_line, write_files

RUN = {"profile": "quick", "labels": ("low", "high"), "epochs": 3, "batch_size": 32, "mixup": 0.2}
SETTINGS = make_settings(RUN)


@pytest.fixture(scope="module")
def tone_corpus(tones: Path, shared: Path) -> Corpus:
    running = {"speech": str(shared / "speech"), "negatives": str(shared / "rooms")}
    return corpus_of(tones, speed_copies=True, **running)


@pytest.fixture(scope="module")
def whole(tone_corpus: Corpus) -> train.Trained:
    return train.train(SETTINGS, tone_corpus)


def same_weights(one: Any, other: Any) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_same_seed_same_weights_bit_for_bit(tone_corpus: Corpus, whole: train.Trained) -> None:
    again = train.train(make_settings({**RUN, "threads": 3}), tone_corpus)
    assert (again.history, same_weights(again.network, whole.network)) == (whole.history, True)
    assert not same_weights(train.train(make_settings({**RUN, "seed": 1}), tone_corpus).network, whole.network)


def test_two_halves_of_a_batch_are_summed_and_their_statistics_averaged() -> None:
    network = TCResNet8(3, width=1.0)
    with train.side_by_side(network) as (twins, _):
        for number, twin in enumerate(twins):
            for weight in twin.parameters():
                weight.grad = torch.full_like(weight, number + 1.0)
            for each in filter(torch.is_floating_point, twin.buffers()):
                each.fill_(number)
        train.gather(twins)
    assert {float(each.grad.mean()) for each in network.parameters() if each.grad is not None} == {3.0}
    assert all((each == 0.5).all() for twin in twins for each in filter(torch.is_floating_point, twin.buffers()))


def test_the_best_epoch_s_weights_are_kept(tone_corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, weights = iter([0.5, 0.2, 0.3]), []

    def score(network: torch.nn.Module, *_: object) -> tuple[float, float]:
        weights.append(network.state_dict()["classifier.bias"].clone())
        return next(losses), 1.0

    monkeypatch.setattr(train, "score", score)
    trained = train.train(SETTINGS, tone_corpus)
    assert (trained.best.epoch, trained.best.val_loss) == (2, 0.2)
    assert [torch.equal(trained.network.classifier.bias, each) for each in weights] == [False, True, False]
    assert trained.before
    assert torch.equal(trained.before.classifier.bias, weights[0])  # the user's negatives came in the second epoch


def test_a_loss_that_runs_away_is_said(tone_corpus: Corpus) -> None:
    split = tone_corpus.splits["training"]
    endless = dataclasses.replace(split.stored, power=torch.full_like(split.stored.power, math.inf))
    splits = {**tone_corpus.splits, "training": dataclasses.replace(split, stored=endless)}
    with pytest.raises(UserError, match=r"training diverged in epoch 1 .*; lower --learning-rate"):
        train.train(SETTINGS, dataclasses.replace(tone_corpus, splits=splits))


def test_a_run_stopped_twice_ends_as_one_in_one_go(
    tone_corpus: Corpus, whole: train.Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(after: int, resume: bool = True) -> list[int]:
        """The epochs of a run that is stopped before the last one's state is kept."""
        save = Mock(wraps=train.save_state, side_effect=[*[DEFAULT] * (after - 1), InterruptedError])
        with monkeypatch.context() as patch:
            patch.setattr(train, "save_state", save)
            with pytest.raises(InterruptedError):
                train.train(SETTINGS, tone_corpus, tmp_path, resume)
        return [len(call.args[2]["history"]) for call in save.call_args_list]

    assert (stopped(2), stopped(2)) == ([1, 2], [2, 3])
    resumed = train.train(SETTINGS, tone_corpus, state=tmp_path, resume=True)
    assert resumed.history == whole.history
    assert same_weights(resumed.network, whole.network)
    assert same_weights(resumed.before, whole.before)
    assert stopped(1, resume=False) == [1]  # without --resume it begins anew


OTHERS: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [  # settings, corpus, another package, what is said
    ({"seed": 5}, {}, "", "--seed 0 there, 5 here"),
    ({"speed_copies": False}, {}, "", "--speed-copies True there, False here"),
    ({}, {"digest": "e"}, "", "data digest "),
    ({}, {"labels": ("low",)}, "", "labels ['low', 'high', '_unknown_', '_silence_'] there, ['low'] here"),
    *(({}, {}, package, f"{package} ") for package in ("torch", "torchaudio", "numpy", "soundfile", "soxr")),
    ({"false_accepts_per_hour": 2.0, "licence": "CC0", "profile": "best", "dataset": "other"}, {}, "onnxruntime", ""),
]


@pytest.mark.parametrize(("settings", "data", "package", "message"), OTHERS)
def test_a_state_is_taken_where_the_weights_do_not_depend_on_what_changed(
    tone_corpus: Corpus, tmp_path: Path, monkeypatch: Any, settings: Any, data: Any, package: str, message: str
) -> None:
    path = tmp_path / "state.pt"
    train.save_state(path, train.identity_of(SETTINGS, tone_corpus), {"kept": True})
    monkeypatch.setattr(provenance, "version", lambda name: "0" if name == package else version(name))
    changed = dataclasses.replace(tone_corpus, **data)
    identity = train.identity_of(dataclasses.replace(SETTINGS, **settings), changed)
    if not message:
        assert train.load_state(path, identity) == {"kept": True}
        return
    with pytest.raises(UserError, match=f"is of a different run .*{re.escape(message)}"):
        train.load_state(path, identity)


def test_a_state_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for content in (b"", b"PK\x03\x04 half", b"cos\nmkdir\n(Vevil\ntR."):  # data, not code
        Path("state.pt").write_bytes(content)
        with pytest.raises(UserError, match=r"state.pt' cannot be read \([^.]{3,80}\); remove it to start anew"):
            train.load_state(Path("state.pt"), {})
    assert not Path("evil").exists()


SIGNALS = signal.SIGINT, signal.SIGTERM
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
        *((partial(signal.raise_signal, one), 128 + one, f"stopped by {one.name}; {GO_ON}", "") for one in SIGNALS),
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
        Mock(side_effect=failure)()

    monkeypatch.setattr(run, "run", fail)
    fails(tmp_path, code, message, last_line=last_line)


def test_a_model_that_computes_something_else_is_not_written(tones: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(export, "PARITY", -1.0)
    fails(tmp_path, 1, "the exported model's probabilities differ from", *QUICK, "--epochs", "1", "--dataset", tones)


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
    (tmp_path / "some.new").symlink_to("/dev/full")  # what is written appears whole or not at all
    for write, name, *content in ((write_clip, "some.flac", np.zeros(100)), (train.save_state, "some.pt", {}, {})):
        with pytest.raises(OSError, match="No space left") as raised:
            write(tmp_path / name, *content)
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
