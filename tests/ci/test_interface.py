"""What `dagger functions` and `--help` show, that caching is safe, and what of the arguments cannot be meant."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import dagger
import pytest
from dagger import dag
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from .conftest import FILES, ROOT, SOURCES, Engine, query_error, settings
from .graph import everything, marked

# `dagger call --help`, 0.21.8
TAKEN = "allow_llm auto_apply debug eager_runtime help interactive interactive_command json lock mod no_exit no_mod"
TAKEN += " output progress quiet silent verbose web x_release"
VERBS = "train build test_predict publish serve _pipeline gates sweep shell doctor releases clips image_tar"
VERBS += " sbom scan audit verdict notes"
CHECKS = {"lint", "workflows", "types", "unit_tests", "predict"}


@pytest.fixture
def objects() -> dict[str, Any]:
    from kws_ci.main import Kws

    module = Kws.__dagger_module__  # type: ignore[attr-defined]
    return {name: module.get_object(name) for name in ("Kws", "Releases", "Verdict", "Sweep")}


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
    functions = objects["Kws"].functions
    assert {*VERBS.split(), *CHECKS} <= set(functions)
    assert {name for name, function in functions.items() if function.check} == CHECKS
    assert not [name for name in CHECKS if functions[name].parameters]
    assert {"verify", "attestations", "promote", "rollback"} == set(objects["Releases"].functions)
    assert set(objects["Verdict"].fields) == {"passed", "failed", "headline", "file"}


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
async def test_the_module_can_be_described_to_an_engine(
    engine: Engine, objects: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kws_ci.main import Kws

    module = Kws.__dagger_module__  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "_main_name", "Kws")
    monkeypatch.setattr(module, "_main", objects["Kws"])
    engine.answers["id"] = "module"
    await module._typedefs()
    described = list(everything(engine.asked[-1]))
    assert {args["name"] for name, args in described if name == "withEnumMember"} == {
        "TRAIN",
        "IMAGE",
        "TEST",
        "RELEASE",
    }
    assert set(objects) <= {args.get("name") for name, args in described if name == "withObject"}


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

    async def end(result: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    assert await gather(end(1), end(2)) == [1, 2]
    with pytest.raises(dagger.DaggerError, match="step broke"):
        await gather(end(1), end(dagger.DaggerError("step broke")))
    for stderr, line in (("loading\nerror: no such word\n", "^error: no such word$"), ("", "^exit code: 137$")):
        found = {"_type": "EXEC_ERROR", "cmd": ["python"], "exitCode": 137, "stdout": "", "stderr": stderr}
        with pytest.raises(RuntimeError, match=line):
            await gather(end(query_error("exit code: 137", **found)))


AT = {"address": "ghcr.io/me/name"}
SECRET, FILE, FOLDER = "a secret", "a file", "a folder"
MAKES = {SECRET: lambda: dag.set_secret("x", "x"), FILE: lambda: marked("x").file("x"), FOLDER: lambda: marked("x")}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"synthetic": True, "dataset": FILE}, "--dataset and --synthetic exclude each other"),
        ({"dataset": FILE, "dataset_folder": FOLDER}, "--dataset and --dataset-folder exclude each other"),
        ({"training": ["epochs"]}, "--training: 'epochs' is not NAME=VALUE"),
        ({"training": ["--epochs=3"]}, "--training: '--epochs=3' is not NAME=VALUE"),
        ({"training": ["=3"]}, "--training: '=3' is not NAME=VALUE"),
        ({"training": ["profile=quick"]}, "--training: 'profile=quick' has an option of its own, --profile"),
        ({"training": ["dataset=x"]}, "--training: 'dataset=x' has an option of its own, --dataset"),
        ({"tool_images": ["crane=x"]}, "--tool-images: 'crane=x' is not NAME=ADDRESS"),
        ({"tool_images": ["syft"]}, "--tool-images: 'syft' is not NAME=ADDRESS"),
        ({"created": "yesterday"}, "--created 'yesterday' is not of the form"),
        ({"created": "2026-03-01T12:00:00"}, "--created '2026-03-01T12:00:00' is not of the form"),
        ({"address": "https://ghcr.io/me/name"}, "--address"),
        ({"address": "ghcr.io/Me/Name"}, "--address"),
        ({"address": "ghcr.io/me/name:latest"}, "--address"),
        ({"address": "me/name"}, "--address"),
        ({"address": "127.0.0.1:5000/me/name"}, "--registry=tcp://127.0.0.1:5000"),
        ({"address": "localhost/me/name"}, "--registry=tcp://localhost"),
        ({**AT, "username": "me"}, "--username and --password go together"),
        ({**AT, "password": SECRET}, "--username and --password go together"),
        (
            {"signing_key": SECRET, "oidc_request_url": SECRET},
            "--signing-key and --oidc-request-url exclude each other",
        ),
        ({"oidc_request_url": SECRET}, "--oidc-request-url and --oidc-request-token go together"),
        ({"oidc_request_url": SECRET, "oidc_request_token": SECRET}, "--identity and --issuer are missing"),
        ({"identity": "^x$"}, "--identity and --issuer go together"),
    ],
)
def test_what_cannot_be_meant_is_named_before_any_work(given: dict[str, Any], named: str) -> None:
    made = {name: MAKES[value]() if str(value) in MAKES else value for name, value in given.items()}
    with pytest.raises(ValueError, match=named):
        settings(**made)


@pytest.mark.parametrize(
    "address", ["ghcr.io/me/name", "localhost.example/a/b-c", "host:5000/me", "10.0.0.1:5000/a_b/c"]
)
def test_addresses_that_can_be(address: str) -> None:
    assert settings(address=address).address == address
