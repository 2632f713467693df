"""The trainer in containers: the same commands as natively, what it is told, and what a failure leaves."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from model.settings import DATA
from model.settings import Settings as TrainerSettings
from tests.model.conftest import Cli, cache, main, shared, tar, tone_files  # noqa: F401 - fixtures

from .conftest import Engine, settings
from .graph import chain, commands, everything, marked, marks

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[2]


def shape(command: list[str]) -> tuple[str, set[str]]:
    """The program with its use, and the names of its options: what of a command line does not depend on the place."""
    words = command[command.index("-m") + 1 :]
    program = words[0] if words[0] != "model" else " ".join(words[:2])
    return program, {word.partition("=")[0] for word in words if word.startswith("--")}


def native(target: str, program: str) -> list[str]:
    """The command line of the Makefile for a program."""
    make = shutil.which("make") or pytest.skip("make is not installed")
    asked = [make, "--dry-run", target, "DATASET=set.tar.gz", "LABELS=up,no", "TRAIN=--profile=quick"]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    line = next(line for line in said.splitlines() if f"-m {program}" in line)
    return shlex.split(line.partition("||")[0])


@pytest.mark.parametrize(
    ("target", "program"),
    [("train", "model train"), ("clips", "model clips"), ("test-client", "service.test_client")],
)
async def test_containers_run_what_is_run_natively(engine: Engine, target: str, program: str) -> None:
    await settings(dataset=marked("d").file("set"), profile="quick", labels=["up", "no"]).pipeline()
    made = next(command for command in engine.ran() if " ".join(command).startswith(f"python -m {program}"))
    assert shape(made) == shape(native(target, program))


async def test_a_container_trains_what_is_trained_natively(engine: Engine, main: Cli, tmp_path: Path) -> None:  # noqa: F811
    """The very commands, on one archive: the same classes, clips and settings."""
    archive = tmp_path / "archive"
    tar(archive, tone_files(("low", "high", "other", "more")))
    kws = settings(dataset=marked("d").file("x"), labels=["low", "high"], profile="quick", training=["stream-hours=0"])
    (composed,) = [command for command in commands(await kws.train()) if "train" in command]
    places = {"/data/archive": str(archive), "/artifacts/model": str(tmp_path / "container")}
    done = main(*(places.get(part, part) for part in composed[3:]), "--epochs=1")
    assert done.returncode == 0, done.stderr
    options = ("--labels", "low,high", "--profile", "quick", "--epochs", "1", "--stream-hours", "0")
    done = main("train", "--dataset", archive, "--output", tmp_path / "native", *options)
    assert done.returncode == 0, done.stderr

    def told(name: str) -> dict[str, Any]:
        evaluation = json.loads((tmp_path / name / "evaluation.json").read_text())
        config = json.loads((tmp_path / name / "config.json").read_text())
        found = {key: evaluation[key] for key in ("labels", "n", "clips", "test_clips_digest", "accuracy")}
        return {**found, "settings": config.get("settings", config)}

    assert "_unknown_" in told("native")["labels"]
    assert told("container") == told("native")


def test_the_constructor_takes_what_the_trainer_is_told_of_data() -> None:
    """A user of containers can say of own data whatever a native user can."""
    from kws_ci.main import Kws
    from kws_ci.train import OF_DATA

    told = {each.name for each in fields(TrainerSettings) if each.metadata["panel"] == DATA} - {"dataset"}
    assert set(OF_DATA) == told
    assert told | {"dataset"} <= {each.name for each in fields(Kws)}


@pytest.mark.parametrize(
    ("given", "name", "mounted"),
    [
        ({}, "speech-commands", None),
        ({"synthetic": True}, "synthetic", None),
        ({"dataset": lambda: marked("d").file("x.zip")}, "/data/archive", "withMountedFile"),
        ({"dataset_folder": lambda: marked("d")}, "/data/set", "withMountedDirectory"),
    ],
)
async def test_a_data_set_is_named_or_mounted(
    engine: Engine, given: dict[str, Any], name: str, mounted: str | None
) -> None:
    trained = await settings(**{key: value() if callable(value) else value for key, value in given.items()}).train()
    (command,) = [command for command in commands(trained) if "model" in command and "train" in command]
    assert command[:7] == ["python", "-m", "model", "train", "--dataset", name, "--output"]
    paths = [args["path"] for step, args in chain(trained) if step == mounted]
    assert paths == ([name] if mounted else [])


async def test_what_the_constructor_is_told_reaches_every_command_that_it_means(engine: Engine) -> None:
    data: dict[str, Any] = {
        "labels": ["up", "no"],
        "licence": "CC0-1.0",
        "attribution": "me",
        "speaker_pattern": "^[a-z]+",
    }
    data |= {
        "synthetic_size": 9,
        "synthetic_seed": 8,
        "only_keywords": True,
        "dataset_url": "http://m",
        "dataset_sha256": "0",
    }
    kws = settings(**data, profile="quick", seed=7, training=["epochs=3", "learning-rate=0.1"])
    of_data = {
        *("--labels=up,no", "--licence=CC0-1.0", "--attribution=me", "--speaker-pattern=^[a-z]+", "--only-keywords"),
        *("--synthetic-size=9", "--synthetic-seed=8", "--dataset-url=http://m", "--dataset-sha256=0"),
    }
    of_training = {"--profile=quick", "--seed=7", "--epochs=3", "--learning-rate=0.1"}
    for made, wanted in ((await kws.train(), of_data | of_training), (kws.clips(), of_data)):
        assert {part for part in commands(made)[-1] if part.startswith("--")} - {"--dataset", "--output"} == wanted


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"synthetic": True, "dataset": True}, "--dataset and --synthetic exclude each other"),
        ({"dataset": True, "dataset_folder": True}, "--dataset and --dataset-folder exclude each other"),
        ({"training": ["epochs"]}, "--training: 'epochs' is not NAME=VALUE"),
        ({"training": ["--epochs=3"]}, "--training: '--epochs=3' is not NAME=VALUE"),
        ({"training": ["=3"]}, "--training: '=3' is not NAME=VALUE"),
        ({"training": ["profile=quick"]}, "--training: 'profile=quick' has an option of its own, --profile"),
        ({"tool_images": ["crane=x"]}, "--tool-images: 'crane=x' is not NAME=ADDRESS"),
        ({"tool_images": ["syft"]}, "--tool-images: 'syft' is not NAME=ADDRESS"),
    ],
)
async def test_what_cannot_be_meant_is_named_before_any_work(engine: Engine, given: dict[str, Any], named: str) -> None:
    places = {"dataset": marked("d").file("x"), "dataset_folder": marked("d")}
    kws = settings(**{name: places.get(name, value) for name, value in given.items()})
    for function in (kws.train, kws.pipeline):
        with pytest.raises(ValueError, match=named):
            await function()
    assert engine.ran() == []


async def test_an_edit_of_shared_code_or_trainer_retrains_and_of_the_service_does_not(engine: Engine) -> None:
    assert marks(await settings().train()) == {"dependencies", "kws_source", "model_source"}


REFERENCE = {".git/HEAD": "ref: refs/heads/main\n"}


@pytest.mark.parametrize(
    ("revision", "files", "found"),
    [
        ("abc", {}, "abc"),
        ("", {".git/HEAD": "0123\n"}, "0123"),
        ("", {**REFERENCE, ".git/refs/heads/main": "4567\n"}, "4567"),
        ("", {**REFERENCE, ".git/packed-refs": "# pack\n1111 refs/heads/x\n89ab refs/heads/main\n"}, "89ab"),
        ("", REFERENCE, ""),
        ("", {}, ""),
    ],
)
async def test_the_commit_reaches_the_trainer_and_trains_nothing_anew(
    engine: Engine, revision: str, files: dict[str, str], found: str
) -> None:
    engine.files |= files
    trained = chain(await settings(revision=revision).train())
    assert [args for name, args in trained if name == "withVolatileVariable"] == [
        {"name": "KWS_REVISION", "value": found}
    ]
    assert [args for name, args in trained if name == "withEnvVariable" and args["name"] == "KWS_REVISION"] == []


@pytest.mark.parametrize(
    ("ended", "log"),
    [
        ((1, "epoch 1\n", "error: parity\n"), "epoch 1\n\nerror: parity\n"),
        ((137, "epoch 1\n", ""), "epoch 1\nthe training ended with exit code 137\n"),
        ((1, "", ""), "the training ended with exit code 1\n"),
    ],
)
async def test_a_training_that_fails_leaves_its_log_and_is_judged(
    engine: Engine, ended: tuple[int, str, str], log: str
) -> None:
    engine.programs["model train"] = ended
    result = await settings().pipeline()
    written = {args["path"]: args["contents"] for name, args in everything(result) if name == "withNewFile"}
    assert written["train.log"] == log
    assert [command for command in commands(result) if "judge" in command]
    assert not [command for command in engine.ran() if "regctl" in command or "service.test_client" in command]
    with pytest.raises(RuntimeError, match=log.splitlines()[-1]):
        await settings().train()


async def test_a_trainer_that_was_given_nonsense_says_so(engine: Engine) -> None:
    engine.programs["model train"] = (2, "", "trace\nerror: --labels 'up' names fewer than two words\n")
    for function in (settings().pipeline, settings().train, settings().build):
        with pytest.raises(RuntimeError, match=r"^error: --labels 'up' names fewer than two words$"):
            await function()


async def test_a_given_model_is_not_trained_again(engine: Engine) -> None:
    await settings().build(model=marked("m").file("model.onnx"))
    assert not [command for command in engine.ran() if "train" in command]
