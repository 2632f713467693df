"""The trainer in containers: the same commands as natively, what it is told, and what a failure leaves."""

import json
import shlex
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from model.settings import DATA
from model.settings import Settings as TrainerSettings
from tests.model.conftest import Cli, cache, main, shared, tar, tone_files  # noqa: F401 - fixtures

from .conftest import ROOT, Ended, Engine, Given, settings
from .graph import chain, commands, marked, marks, written

pytestmark = pytest.mark.anyio
ARCHIVE, FOLDER = marked("d").file("x.zip"), marked("d")


def shape(command: list[str]) -> tuple[str, set[str]]:
    """The program with its use, and the names of its options: what of a command line does not depend on the place."""
    words = command[command.index("-m") + 1 :]
    use = [word for word in words[:2] if not word.startswith(("-", "http"))]
    return " ".join(use), {word.partition("=")[0] for word in words if word.startswith("--")}


NATIVE = {"train": "model train", "clips": "model clips", "test-client": "service.test_client"}


async def test_containers_run_what_is_run_natively(engine: Engine) -> None:
    await settings(dataset=ARCHIVE, profile="quick", labels=["up", "no"]).pipeline()
    make = shutil.which("make") or pytest.skip("make is not installed")
    for target, program in NATIVE.items():
        asked = [make, "--dry-run", target, "DATASET=set.tar.gz", "LABELS=up,no", "TRAIN=--profile=quick"]
        said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        line = next(line for line in said.splitlines() if f"-m {program}" in line)
        assert shape(shlex.split(line.partition("||")[0])) == shape(shlex.split(engine.said(f"-m {program}")[0]))


async def test_a_container_trains_what_is_trained_natively(engine: Engine, main: Cli, tmp_path: Path) -> None:  # noqa: F811
    """REVIEW 18: the very commands, on one archive: the same classes, clips and settings."""
    archive = tmp_path / "archive"
    tar(archive, tone_files(("low", "high", "other", "more")))
    kws = settings(dataset=ARCHIVE, labels=["low", "high"], profile="quick", training=["speech=none", "epochs=1"])
    (composed,) = [command for command in commands(await kws.train()) if "train" in command]
    places = {"--dataset=/data/dataset": f"--dataset={archive}", "--output=/artifacts/model": f"--output={tmp_path}/a"}
    native = ["train", "--dataset", archive, "--output", tmp_path / "b", "--labels", "low,high", "--profile", "quick"]
    found = []
    for name, told in (("a", [places.get(word, word) for word in composed[3:]]), ("b", [*native, *composed[-2:]])):
        done = main(*told)
        assert done.returncode == 0, done.stderr
        evaluation = json.loads((tmp_path / name / "evaluation.json").read_text())
        config = json.loads((tmp_path / name / "config.json").read_text())
        kept = {key: evaluation[key] for key in ("labels", "n", "clips", "test_clips_digest", "accuracy")}
        found.append({**kept, "settings": config.get("settings", config)})
    assert "_unknown_" in found[0]["labels"]
    assert found[0] == found[1]


def test_the_constructor_takes_what_the_trainer_is_told_of_data() -> None:
    """REVIEW 42: a user of containers can say of own data whatever a native user can."""
    from kws_ci.main import Kws
    from kws_ci.settings import MOUNTED, OF_DATA

    told = {each.name for each in fields(TrainerSettings) if each.metadata["panel"] == DATA}
    assert {*OF_DATA, *MOUNTED} == told
    assert {*OF_DATA, *(name for names in MOUNTED.values() for name in names)} <= {each.name for each in fields(Kws)}


TOLD: list[tuple[Given, list[str]]] = [
    ({"dataset": ARCHIVE}, ["--dataset=/data/dataset"]),
    ({"dataset_folder": FOLDER, "labels": ["up", "no"]}, ["--dataset=/data/dataset", "--labels=up,no"]),
    ({"synthetic": True, "synthetic_seed": 0}, ["--dataset=synthetic", "--synthetic-seed=0"]),
    ({"speech": ARCHIVE, "negatives": FOLDER}, ["--speech=/data/speech", "--negatives=/data/negatives"]),
    ({"speech_evaluation_folder": FOLDER}, ["--speech-evaluation=/data/speech_evaluation"]),
]


@pytest.mark.parametrize(("given", "words"), TOLD)
async def test_what_is_told_of_the_data_reaches_training_and_clips(
    engine: Engine, given: Given, words: list[str]
) -> None:
    from kws_ci import train

    kws = settings(**given, seed=7, training=["epochs=3"])
    trained, clips = await kws.train(), train.clips(kws)
    of_data = commands(clips)[-1][5:]
    assert commands(trained)[-1][5:] == [*of_data, "--seed=7", "--epochs=3"]
    assert {*words} <= {*of_data} <= {*words, "--dataset=speech-commands"}
    mounted = {args["path"]: args["source"] for _, args in chain(trained) if "/data/" in str(args.get("path"))}
    brought = [each for each in given.values() if each in (ARCHIVE, FOLDER)]
    assert mounted == dict(zip([word.partition("=")[2] for word in words if "=/data" in word], brought, strict=True))


REFERENCE = {".git/HEAD": "ref: refs/heads/main\n"}
HEADS = [
    ({".git/HEAD": "0123\n"}, "0123"),
    ({**REFERENCE, ".git/refs/heads/main": "4567\n"}, "4567"),
    ({**REFERENCE, ".git/packed-refs": "# pack\n1111 refs/heads/x\n89ab refs/heads/main\n"}, "89ab"),
    (REFERENCE, ""),
    ({}, ""),
]


async def test_an_edit_elsewhere_and_a_commit_train_nothing_anew(engine: Engine) -> None:
    """REVIEW 29: the commit reaches the trainer all the same."""
    files = engine.files
    for checkout, found in HEADS:
        engine.files = files | checkout
        trained = await settings().train()
        told = [(name, args["value"]) for name, args in chain(trained) if args.get("name") == "KWS_REVISION"]
        assert told == [("withVolatileVariable", found)]
    assert marks(trained) == {"dependencies", "kws_source", "model_source"}


LOGS = [
    ((1, "epoch 1\n", "error: parity\n"), "epoch 1\n\nerror: parity\n"),
    ((137, "epoch 1\n", ""), "epoch 1\nthe training ended with exit code 137\n"),
]


@pytest.mark.parametrize(("ended", "log"), LOGS)
async def test_a_training_that_fails_leaves_its_log_and_is_judged(engine: Engine, ended: Ended, log: str) -> None:
    """REVIEW 14."""
    engine.programs["model train"] = ended
    result = await settings().pipeline()
    assert written(result)["train.log"] == log
    assert engine.said("judge")
    assert engine.said("regctl") + engine.said("service.test_client") == []
    with pytest.raises(RuntimeError, match=log.splitlines()[-1]):
        await settings().train()
