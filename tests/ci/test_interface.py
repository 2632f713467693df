"""What `dagger functions` and `--help` show: every function and argument is documented, and caching is safe."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import dagger
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from .conftest import FILES, SOURCES, Engine, query_error, settings
from .graph import everything

ROOT = Path(__file__).resolve().parents[2]
# `dagger call --help`, 0.21.8
TAKEN = "allow_llm auto_apply debug eager_runtime help interactive interactive_command json lock mod no_exit no_mod"
TAKEN += " output progress quiet silent verbose web x_release"


@pytest.fixture
def objects() -> dict[str, Any]:
    from kws_ci.main import Kws

    module = Kws.__dagger_module__  # type: ignore[attr-defined]
    return {name: module.get_object(name) for name in ("Kws", "Releases", "Scan", "Verdict", "Sweep")}


def test_everything_is_documented_and_nothing_hidden_by_the_cli(objects: dict[str, Any]) -> None:
    for name, each in objects.items():
        functions = {"constructor": each.get_constructor(), **each.functions} if name == "Kws" else each.functions
        for function_name, function in functions.items():
            assert function_name == "constructor" or function.doc, function_name
            for parameter in function.parameters.values():
                assert parameter.doc, f"{function_name} --{parameter.name}"
                assert parameter.name not in TAKEN.split()
    # As the engine makes the API's name of it: a leading underscore leaves a capital, and "pipeline" is hidden.
    assert "pipeline" not in objects["Kws"].functions


def test_the_verbs_are_all_there(objects: dict[str, Any]) -> None:
    verbs = "train build test_predict publish serve _pipeline gates sweep shell doctor releases clips image_tar"
    checks = {"lint", "workflows", "types", "unit_tests", "predict"}
    functions = objects["Kws"].functions
    assert {*verbs.split(), *checks} <= set(functions)
    assert {name for name, function in functions.items() if function.check} == checks
    assert not [name for name in checks if functions[name].parameters]
    assert {"verify", "attestations", "promote", "rollback"} == set(objects["Releases"].functions)


def test_no_functions_answer_outlives_its_session(objects: dict[str, Any]) -> None:
    """Whatever a function's arguments are: a registry, the network, a base image's tag stand behind nearly all."""
    assert json.loads((ROOT / "dagger.json").read_text())["disableDefaultFunctionCaching"] is True
    for each in objects.values():
        assert {function.cache_policy for function in each.functions.values()} <= {None, "never", "session"}


def test_every_source_is_relative_to_the_module_and_narrowed(objects: dict[str, Any]) -> None:
    parameters = objects["Kws"].get_constructor().parameters
    defaults = {name: parameter for name, parameter in parameters.items() if parameter.default_path}
    assert set(defaults) == {*SOURCES, *FILES, "git"}
    for name, parameter in defaults.items():
        # A folder of a larger repository has no .git of its own: that alone is looked for at the top.
        assert str(parameter.default_path).startswith("/") == (name == "git"), name
        assert name in FILES or parameter.ignore, name


def test_the_clients_versions_are_one() -> None:
    engine = json.loads((ROOT / "dagger.json").read_text())["engineVersion"]
    workflow = (ROOT / ".github/workflows/pipeline.yml").read_text()
    assert workflow.count(f'version: "{engine.removeprefix("v")}"') == workflow.count("dagger-for-github@")
    assert tomllib.loads((ROOT / "ci/pyproject.toml").read_text())["project"]["name"] == "kws-ci"


@pytest.mark.anyio
async def test_the_module_can_be_described_to_an_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from kws_ci.main import Kws

    module = Kws.__dagger_module__  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "_main_name", "Kws")
    monkeypatch.setattr(module, "_main", module.get_object("Kws"))
    engine.answers["id"] = "module"
    await module._typedefs()
    described = next(context for name, context in engine.asked if name == "id")
    members = {args["name"] for name, args in everything(described) if name == "withEnumMember"}
    assert members == {"TRAIN", "IMAGE", "TEST", "RELEASE"}
    found = {args["name"] for name, args in everything(described) if name == "withObject" and args.get("name")}
    assert {"Kws", "Releases", "Sweep", "Scan", "Verdict"} <= found


@pytest.mark.anyio
async def test_the_pipelines_steps_are_spans_in_their_order(
    engine: Engine, signed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    await settings(**signed).pipeline()
    order = ["check the registry", "last release", "train", "build", "test /predict", "judge", "push", "pull back"]
    order += [
        "test what was pulled",
        "judge again",
        "push the model",
        "attest",
        "sign the model",
        "tag the model",
        "tag",
    ]
    found = [span.name for span in exporter.get_finished_spans()]
    assert [name for name in found if name in order] == order
    assert set(found) == {*order, "SBOM and scan"}


@pytest.mark.anyio
async def test_of_parallel_steps_the_first_failure_is_raised_bare() -> None:
    from kws_ci.steps import gather

    async def fail(error: Exception) -> None:
        raise error

    async def succeed() -> int:
        return 1

    assert await gather(succeed(), succeed()) == [1, 1]
    with pytest.raises(dagger.DaggerError, match="step broke"):
        await gather(succeed(), fail(dagger.DaggerError("step broke")))
    for stderr, line in (("loading\nerror: no such word\n", "^error: no such word$"), ("", "^exit code: 137$")):
        found = {"_type": "EXEC_ERROR", "cmd": ["python"], "exitCode": 137, "stdout": "", "stderr": stderr}
        with pytest.raises(RuntimeError, match=line):
            await gather(fail(query_error("exit code: 137", **found)))
