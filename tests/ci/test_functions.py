"""Wiring of what is beside the pipeline: the sweep, the shell, what GitHub is told."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dagger import dag

from .conftest import Engine
from .graph import chain, commands, everything, marked, marks
from .test_graph import module

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_the_registrys_program_has_all_that_it_imports(tmp_path: Path) -> None:
    from kws_ci import supply_chain

    container = supply_chain.release_tools(dag.container(), "", marked("tools"))
    (included,) = [args["include"] for name, args in chain(container) if name == "withDirectory"]
    for name in included:
        source = ROOT / "tools" / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (tmp_path / "tools").mkdir(exist_ok=True)
        copy(source, tmp_path / "tools" / name)
    subprocess.run([sys.executable, "-m", "tools.registry", "--help"], cwd=tmp_path, check=True, capture_output=True)


async def test_a_sweep_trains_every_seed_with_every_setting_on_the_same_data(engine: Engine) -> None:
    engine.answers["stdout"] = "seed=1\n"
    swept = await module().sweep(seeds=[1, 2], settings=["width=2 dropout=0.1", "width=3"], synthetic=True, epochs=4)
    trainings = {tuple(command[-4:]) for command in commands(swept.results) if "train" in command}
    assert ("--epochs=4", "--width=2", "--dropout=0.1", "--seed=1") in trainings
    assert len({command for command in trainings if command[-1] in ("--seed=1", "--seed=2")}) == 4
    data = {tuple(command) for command in commands(swept.results) if "data" in command}
    assert len(data) == 1


async def test_the_best_of_a_sweep_goes_into_the_image(engine: Engine) -> None:
    engine.answers["stdout"] = "seed=2\n"
    swept = await module().sweep(seeds=[1, 2], synthetic=True)
    models = [args["path"] for name, args in everything(swept.image) if name == "file"]
    assert models[-1] == "best/model.onnx"
    chosen = [args for name, args in chain(swept.results) if name == "withDirectory"][-1]
    assert chosen["path"] == "best"
    assert chain(chosen["source"])[-1] == ("directory", {"path": "seed=2"})


async def test_a_run_that_fails_sinks_no_other(engine: Engine) -> None:
    engine.exit_codes["--seed=1"] = 1
    engine.answers |= {"stdout": "seed=2\n", "stderr": "error: out of memory\n"}
    swept = await module().sweep(seeds=[1, 2], synthetic=True)
    files = {args["path"]: args["contents"] for name, args in everything(swept.results) if name == "withNewFile"}
    assert files["error.txt"] == "error: out of memory\n"
    assert [c for c in commands(swept.results) if "--seed=2" in c]


async def test_where_every_run_failed_the_sweep_does(engine: Engine) -> None:
    engine.exit_codes |= {"train": 1, "tools.sweep": 2}
    engine.answers["stderr"] = "sweep: no run succeeded: seed=1: broke\n"
    with pytest.raises(RuntimeError, match="no run succeeded: seed=1: broke"):
        await module().sweep(seeds=[1, 2], synthetic=True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"seeds": [1]}, "--seeds"),
        ({"seeds": []}, "--seeds"),
        ({"seeds": [1, 1]}, "--seeds"),
        ({"settings": ["width"]}, "--settings: 'width'"),
        ({"settings": ["--width=2"]}, "--settings: '--width=2'"),
        ({"parallel": 0}, "--parallel 0"),
    ],
)
async def test_a_sweep_that_cannot_work_is_named_before_any_work(
    engine: Engine, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        await module().sweep(synthetic=True, **arguments)
    assert engine.asked == []


def test_a_shell_has_the_stages_data_in_place() -> None:
    from kws_ci.main import Stage

    kws = module()
    train = dict(chain(kws.shell(stage=Stage.TRAIN, synthetic=True)))
    assert train["withMountedDirectory"]["path"] == "/data/set"
    probe = dict(chain(kws.shell(stage=Stage.PROBE, synthetic=True)))
    assert (probe["withServiceBinding"]["alias"], probe["withMountedDirectory"]["path"]) == ("api", "/clips")
    assert dict(chain(kws.shell(stage=Stage.IMAGE, synthetic=True)))["withUser"]["name"] == "10001:10001"
    assert marks(kws.shell(stage=Stage.TOOLS)) == {"tools_source", "model_source", "gates"}


async def test_github_is_told_with_a_secret_that_stands_on_no_command_line(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = dag.set_secret("token", "hunter2")
    kws, artifacts = module(), marked("artifacts")
    await kws.comment(artifacts=artifacts, repository="me/words", number=7, token=token)
    await kws.release(artifacts=artifacts, repository="me/words", tag="v1.2.0", token=token)
    told = [context for name, _, context in engine.asked if name == "stdout"]
    assert len(told) == 2
    for context in told:
        assert [args for name, args in everything(context) if name == "withSecretVariable"] == [
            {"name": "GITHUB_TOKEN", "secret": token}
        ]
    assert {"artifacts", "changelog", "tools_source"} <= marks(told[1])
    assert "--tag=v1.2.0" in commands(told[1])[-1]
    assert "--number=7" in commands(told[0])[-1]


async def test_pruning_reads_with_the_registrys_password_and_deletes_with_githubs_token(engine: Engine) -> None:
    token, password = dag.set_secret("token", "hunter2"), dag.set_secret("password", "hunter3")
    releases = module().releases("ghcr.io/me/words", "me", password)
    for _ in range(2):
        await releases.prune(token=token)
    await releases.prune(token=token, older_than=7, delete=True, api="https://github.example/api/v3")
    told = [context for name, _, context in engine.asked if name == "stdout"]
    ran = [commands(context)[-1] for context in told]
    assert ran[0][-3:] == ["prune", "--api=https://api.github.com", "--older-than=30"]
    assert ran[2][-4:] == ["prune", "--api=https://github.example/api/v3", "--older-than=7", "--delete"]
    secrets = [args for name, args in chain(told[0]) if name in ("withSecretVariable", "withMountedSecret")]
    assert [secret.get("secret") or secret["source"] for secret in secrets] == [token, password]
    runs = [args["value"] for context in told for name, args in chain(context)
            if name == "withEnvVariable" and args["name"] == "KWS_RUN"]  # fmt: skip
    assert len(set(runs)) == 3


@pytest.mark.parametrize(
    ("address", "arguments", "named"),
    [
        ("registry.example/me/words", {}, "docker-registry garbage-collect --delete-untagged"),
        ("ghcr.io/me/words", {"token": None}, "--token is missing"),
        ("ghcr.io/me/words", {"older_than": 0}, "--older-than"),
    ],
)
async def test_what_cannot_be_pruned_is_named_before_any_work(
    engine: Engine, address: str, arguments: dict[str, Any], named: str
) -> None:
    given = {"token": dag.set_secret("token", "hunter2"), **arguments}
    with pytest.raises(ValueError, match=named):
        await module().releases(address).prune(**given)
    assert engine.asked == []
