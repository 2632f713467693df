"""The trainer in containers: the same commands as natively, what it is told, and what a failure leaves."""

import shutil
import subprocess
from dataclasses import fields

import pytest

from model.settings import DATA
from model.settings import Settings as TrainerSettings

from .conftest import ROOT, Engine, Given, settings
from .graph import chain, commands, marked, marks, written

pytestmark = pytest.mark.anyio
ARCHIVE, FOLDER = marked("d").file("x.zip"), marked("d")
PROGRAMS = {"train": "model train", "clips": "model clips", "test-client": "service.test_client"}
PLACES = ["ARTIFACTS=/artifacts", "CLIPS=/clips", "URL=http://api:8000", "DATASET=/data/dataset"]


async def test_containers_run_what_is_run_natively(engine: Engine) -> None:
    """REVIEW 18: the very commands of the Makefile."""
    await settings(dataset=ARCHIVE, profile="quick", labels=["up", "no"]).pipeline()
    make = shutil.which("make") or pytest.skip("make is not installed")
    for target, program in PROGRAMS.items():
        asked = [make, "--dry-run", target, *PLACES, "LABELS=up,no", "TRAIN=--profile=quick"]
        said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        line = next(line for line in said.splitlines() if f"-m {program}" in line)
        native, composed = (
            set(each.partition("-m ")[2].replace("=", " ").split())
            for each in (line.partition("||")[0].replace("'", ""), engine.said(f"-m {program}")[0])
        )
        assert native == composed


def test_the_constructor_takes_what_the_trainer_is_told_of_data() -> None:
    """REVIEW 42: a user of containers can say of own data whatever a native user can."""
    from kws_ci.main import Kws
    from kws_ci.settings import MOUNTED, OF_DATA

    told = {each.name for each in fields(TrainerSettings) if each.metadata["panel"] == DATA}
    assert {*OF_DATA, *MOUNTED} == told
    assert {*OF_DATA, *(name for names in MOUNTED.values() for name in names)} <= {each.name for each in fields(Kws)}


TOLD: list[tuple[Given, list[str]]] = [
    ({"dataset_folder": FOLDER, "labels": ["up", "no"]}, ["--dataset=/data/dataset", "--labels=up,no"]),
    ({"synthetic": True, "synthetic_seed": 0}, ["--dataset=synthetic", "--synthetic-seed=0"]),
    ({"speech": ARCHIVE, "negatives": FOLDER}, ["--speech=/data/speech", "--negatives=/data/negatives"]),
    ({"speech_evaluation_folder": FOLDER}, ["--speech-evaluation=/data/speech_evaluation"]),
]


@pytest.mark.parametrize(("given", "words"), TOLD)
async def test_what_is_told_of_data_reaches_every_command(engine: Engine, given: Given, words: list[str]) -> None:
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
HEADS: dict[str, Given] = {
    "": REFERENCE,
    "0123": {".git/HEAD": "0123\n"},
    "4567": {**REFERENCE, ".git/refs/heads/main": "4567\n"},
    "89ab": {**REFERENCE, ".git/packed-refs": "# pack\n1111 refs/heads/x\n89ab refs/heads/main\n"},
}


async def test_an_edit_elsewhere_and_a_commit_train_nothing_anew(engine: Engine) -> None:
    """REVIEW 29: the commit reaches the trainer all the same."""
    files = engine.files
    for found, checkout in HEADS.items():
        engine.files = files | checkout
        trained = await settings().train()
        told = [(name, args["value"]) for name, args in chain(trained) if args.get("name") == "KWS_REVISION"]
        assert told == [("withVolatileVariable", found)]
    assert marks(trained) == {"dependencies", "kws_source", "model_source"}


async def test_a_training_that_is_killed_leaves_its_log_and_is_judged(engine: Engine) -> None:
    """REVIEW 14."""
    engine.programs["model train"] = (137, "epoch 1\n", "")
    log = "epoch 1\nthe training ended with exit code 137\n"
    assert written(await settings().pipeline())["train.log"] == log
    assert engine.said("judge")
    assert engine.said("regctl") + engine.said("service.test_client") == []
    with pytest.raises(RuntimeError, match="exit code 137"):
        await settings().train()
