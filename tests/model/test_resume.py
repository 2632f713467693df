"""A run that is killed goes on with the result of one that was not; a run can be repeated from its config.json."""

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from model import dataset, training
from model.data.layout import EVERY_WORD, scan
from model.errors import UserError
from model.resume import Keeper, identity_of
from model.settings import Settings, make_settings

from .conftest import ROOT, Cli, command, one_line, tone_files, write_files

WORDS = ("low", "high")
SETTINGS = make_settings("quick", labels=WORDS, epochs=4, batch_size=16, mixup=0.2, threads=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = tone_files((*WORDS, "cat", "dog", "egg"))
    files["dataset.json"] = json.dumps({"name": "tones", "licence": "CC0 1.0", "attribution": "nobody"}).encode()
    return write_files(tmp_path_factory.mktemp("resume") / "tones", files)


@pytest.fixture(scope="module")
def corpus(root: Path) -> dataset.Corpus:
    return dataset.load(scan(root, (*WORDS, EVERY_WORD)), SETTINGS)


class _StopError(Exception):
    pass


def _keeper(folder: Path, settings: Settings = SETTINGS, digest: str = "d") -> Keeper:
    return Keeper(folder, identity_of(settings.to_dict(), digest, 1, "cpu"))


def _stopped_at(number: int) -> training.OnEpoch:
    def stop(epoch: training.Epoch, best: bool) -> None:
        if epoch.epoch == number:
            raise _StopError

    return stop


def _same_weights(one: training.Trained, other: training.Trained) -> bool:
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_run_stopped_twice_ends_as_one_in_one_go(corpus: dataset.Corpus, tmp_path: Path) -> None:
    whole = training.train(SETTINGS, corpus)
    for epoch in (2, 3):  # in the second the first epoch is kept, in the third two are
        with pytest.raises(_StopError):
            training.train(SETTINGS, corpus, _stopped_at(epoch), keeper=_keeper(tmp_path), resume=True)
    seen: list[int] = []
    resumed = training.train(
        SETTINGS, corpus, lambda epoch, _: seen.append(epoch.epoch), keeper=_keeper(tmp_path), resume=True
    )
    assert seen == [3, 4]
    assert resumed.history == whole.history
    assert (resumed.best_epoch, resumed.samples) == (whole.best_epoch, whole.samples)
    assert _same_weights(resumed, whole)


def test_without_resume_a_run_begins_anew(corpus: dataset.Corpus, tmp_path: Path) -> None:
    with pytest.raises(_StopError):
        training.train(SETTINGS, corpus, _stopped_at(2), keeper=_keeper(tmp_path))
    seen: list[int] = []
    training.train(SETTINGS, corpus, lambda epoch, _: seen.append(epoch.epoch), keeper=_keeper(tmp_path))
    assert seen == [1, 2, 3, 4]


def test_another_run_s_state_is_refused_naming_the_difference(tmp_path: Path) -> None:
    _keeper(tmp_path).save({})
    other = dataclasses.replace(SETTINGS, epochs=5)
    with pytest.raises(UserError, match=r"different run \(--epochs 4 there, 5 here; data digest d there, e here\)"):
        _keeper(tmp_path, other, "e").load()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"\x80\x02}q\x00."])
def test_a_state_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"state.pt' cannot be read .*; remove it to start anew"):
        _keeper(tmp_path).load()


def test_a_state_is_data_not_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'evil'}",)

    torch.save({"identity": Evil(), "state": {}}, tmp_path / "state.pt")
    with pytest.raises(UserError, match="cannot be read"):
        _keeper(tmp_path).load()
    assert not (tmp_path / "evil").exists()


def test_a_run_killed_for_good_goes_on(root: Path, tmp_path: Path, main: Cli) -> None:
    options = ("--labels", "low,high", "--dataset", root, "--profile", "quick", "--epochs", "6", "--stream-hours", "0")
    assert main("train", *options, "--output", tmp_path / "whole").returncode == 0
    killed = ("train", *options, "--output", tmp_path / "killed")
    process = subprocess.Popen(command(*killed), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("epoch   3/"):
            process.kill()
            break
    process.wait(timeout=60)
    assert not (tmp_path / "killed").exists()
    assert (tmp_path / "killed.resume/state.pt").is_file()
    other = main("train", *options, "--output", tmp_path / "killed", "--resume", "--epochs", "7")
    assert "--epochs 6 there, 7 here" in one_line(other)
    result = main(*killed, "--resume")
    assert result.returncode == 0, result.stderr
    assert "going on after epoch" in result.stdout
    assert "epoch   1/6" not in result.stdout
    assert (tmp_path / "killed/best_model.pth").read_bytes() == (tmp_path / "whole/best_model.pth").read_bytes()
    assert not (tmp_path / "killed.resume").exists()


def test_a_run_is_repeated_from_its_config(root: Path, tmp_path: Path, main: Cli) -> None:
    options = ("--labels", "low,high", "--dataset", root, "--profile", "quick", "--epochs", "2", "--stream-hours", "0")
    result = main("train", *options, "--seed", "5", "--dropout", "0.2", "--output", tmp_path / "one")
    assert result.returncode == 0, result.stderr
    config = json.loads((tmp_path / "one/config.json").read_text())
    assert config["settings"]["seed"] == 5
    assert set(config) == {"options", "settings", "data_digest", "versions", "revision", "processes"}

    again = main("train", "--config", tmp_path / "one/config.json", "--output", tmp_path / "two")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "two/best_model.pth").read_bytes() == (tmp_path / "one/best_model.pth").read_bytes()
    repeated = json.loads((tmp_path / "two/config.json").read_text())
    assert {**repeated, "revision": ""} == {**config, "revision": ""}

    over = main("train", "--config", tmp_path / "one/config.json", "--seed", "6", "--output", tmp_path / "three")
    assert over.returncode == 0, over.stderr
    settings = json.loads((tmp_path / "three/config.json").read_text())["settings"]
    assert settings == {**config["settings"], "seed": 6}

    config["data_digest"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(config))
    line = one_line(main("train", "--config", tmp_path / "other.json", "--output", tmp_path / "four"))
    assert f"but that of '{tmp_path / 'other.json'}' is {'0' * 64}" in line
    assert json.loads((tmp_path / "one/config.json").read_text())["data_digest"] in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file"),
        ("{", "is no config.json of a run"),
        ("[]", "is no config.json of a run"),
        ('{"options": {}, "settings": {"magic": 1}, "data_digest": "", "versions": {}}', "does not know: magic"),
    ],
)
def test_a_config_that_is_none(tmp_path: Path, main: Cli, content: str | None, message: str) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    assert message in one_line(main("train", "--config", path, "--output", tmp_path / "out"))
