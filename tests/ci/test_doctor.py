"""Wiring of the doctor: what is asked from where, and that every check is made whatever failed."""

from __future__ import annotations

import json
from typing import Any

import dagger
import pytest
from dagger import dag
from dagger._exceptions import QueryErrorValue
from gql import GraphQLRequest

from .conftest import Engine
from .graph import chain, commands, everything, marks
from .test_graph import module

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def well(engine: Engine) -> None:
    """An engine of the version asked for, and programs that find nothing wrong."""
    asked = json.dumps({"engineVersion": "v0.21.8"})
    engine.answers |= {"version": "v0.21.8", "contents": asked, "stdout": "ok       data set: https://x answers\n"}


def programs(engine: Engine) -> list[Any]:
    return [context for name, _, context in engine.asked if name == "stdout"]


async def test_everything_is_asked_in_the_base_image_and_never_from_the_cache(engine: Engine) -> None:
    kws = module(
        base_image="mirror/python", package_index="https://pypi.mirror", torch_index="", dataset_url="http://d"
    )
    for _ in range(2):
        lines = (await kws.doctor(address="ghcr.io/me/name")).splitlines()
        assert lines[:3] == [
            "ok       engine: v0.21.8, linux/amd64",
            f"ok       base image: docker.io/library/python:3.13-slim@sha256:{'b' * 64}",
            "ok       data set: https://x answers",
        ]
    network, registry, *again = programs(engine)
    if "tools.registry" in commands(network)[-1]:
        network, registry = registry, network
    assert commands(network) == [
        [
            *("python", "-m", "tools.doctor", "--package-index=https://pypi.mirror", "--dataset-url=http://d"),
            *("--vulnerability-source=https://api.osv.dev", "--publishing"),
        ]
    ]
    # The registry's own tools are not installed: where their mirror does not answer, the rest is still looked at.
    assert commands(registry) == [["python", "-m", "tools.registry", "--address=ghcr.io/me/name", "doctor"]]
    for context in (network, registry):
        assert [args["address"] for name, args in everything(context) if name == "from"] == ["mirror/python"]
        assert marks(context) == {"tools_source"}
    runs = {args["value"] for context in (network, registry, *again) for name, args in chain(context)
            if args.get("name") == "KWS_RUN"}  # fmt: skip
    assert len(runs) >= 4


async def test_without_an_address_there_is_no_registry_to_look_at(engine: Engine) -> None:
    said = await module().doctor()
    assert said.endswith("skipped  registry: no --address")
    (network,) = programs(engine)
    assert "--publishing" not in commands(network)[-1]


async def test_the_password_goes_to_the_registry_alone(engine: Engine) -> None:
    secret = dag.set_secret("password", "hunter2")
    service = dag.container().as_service()
    address = "127.0.0.1:5000/me/name"
    await module().doctor(address=address, username="me", password=secret, registry=service)
    secrets = {
        "tools.registry" in commands(context)[-1]: [args for name, args in chain(context) if "Secret" in name]
        for context in programs(engine)
    }
    assert secrets[False] == []
    assert [mount["source"] for mount in secrets[True]] == [secret]


@pytest.mark.parametrize(
    ("version", "state"),
    [("v0.21.8", "ok"), ("v0.22.0-2611", "warning"), ("v0.21.10", "warning"), ("v0.9.9", "FAILED")],
)
async def test_an_older_engine_fails(engine: Engine, version: str, state: str) -> None:
    engine.answers["version"] = version
    if state == "FAILED":
        with pytest.raises(RuntimeError, match="failed: engine") as failed:
            await module().doctor()
        said = str(failed.value).partition("\n")[2]
    else:
        said = await module().doctor()
    assert said.startswith(f"{state:<8} engine: {version}, linux/amd64")
    assert ("dagger.json asks for v0.21.8" in said) == (state != "ok")
    assert "data set" in said  # all else was looked at


async def test_what_failed_is_named_before_all_lines(engine: Engine) -> None:
    engine.answers["stdout"] = "FAILED   package index: no\nwarning  torch's index: no\nFAILED   data set: no\n"
    with pytest.raises(RuntimeError) as failed:
        await module().doctor(address="ghcr.io/me/name")
    lines = str(failed.value).splitlines()
    assert lines[0] == "failed: package index, data set"
    assert len(lines) == 7  # the engine, the base image, three, the registry's one


async def test_without_the_base_image_the_rest_is_skipped(engine: Engine) -> None:
    def refuse(_: Any) -> None:
        raise query_error("input: resolve\nfailed to resolve python:3.13-slim")

    engine.answers["imageRef"] = refuse
    with pytest.raises(RuntimeError) as failed:
        await module().doctor(address="ghcr.io/me/name")
    assert "failed to resolve python:3.13-slim; --base-image" in str(failed.value)
    assert "skipped  all else" in str(failed.value)
    assert programs(engine) == []


def query_error(message: str, **found: Any) -> dagger.QueryError:
    return dagger.QueryError([QueryErrorValue(message, extensions=found)], GraphQLRequest("{a}"))


def exec_error(code: int, stdout: str, stderr: str) -> dagger.QueryError:
    said = {"stdout": stdout, "stderr": stderr}
    return query_error(f"exit code: {code}", _type="EXEC_ERROR", cmd=["python"], exitCode=code, **said)


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (exec_error(3, "ok       a: x\nFAILED   b: y\n", ""), ["ok       a: x", "FAILED   b: y"]),
        (exec_error(1, "", "Traceback\nKeyError: 'x'\n"), ["FAILED   network: KeyError: 'x'"]),
        (query_error("start tcp://127.0.0.1:5000\nno answer"), ["FAILED   network: no answer"]),
    ],
    ids=["found something", "broke", "a service did not start"],
)
async def test_a_program_that_failed_is_told_of(engine: Engine, error: Exception, lines: list[str]) -> None:
    def fail(_: Any) -> None:
        raise error

    engine.answers["stdout"] = fail
    with pytest.raises(RuntimeError) as failed:
        await module().doctor()
    assert str(failed.value).splitlines()[3 : 3 + len(lines)] == lines
