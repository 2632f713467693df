"""What `dagger functions` and `--help` show, that caching is safe, and what of the arguments cannot be meant."""

import json
from typing import Any

import pytest
from dagger import dag

from .conftest import FILES, ROOT, SOURCES, Engine, Given, settings
from .graph import marked

# `dagger call --help`, 0.21.8
TAKEN = "allow_llm auto_apply debug eager_runtime help interactive interactive_command json lock mod no_exit no_mod"
TAKEN += " output progress quiet silent verbose web x_release"
CHECKS = {"lint", "workflows", "types", "unit_tests", "predict"}


@pytest.fixture
def objects() -> dict[str, Any]:
    from kws_ci.main import Kws

    module = Kws.__dagger_module__  # type: ignore[attr-defined]
    return {name: module.get_object(name) for name in ("Kws", "Releases", "Verdict", "Sweep")}


def test_everything_is_documented_and_nothing_hidden_by_the_cli(objects: Given) -> None:
    for name, each in objects.items():
        functions = {"constructor": each.get_constructor(), **each.functions} if name == "Kws" else each.functions
        for function_name, function in functions.items():
            assert function_name == "constructor" or function.doc, function_name
            for parameter in function.parameters.values():
                assert parameter.doc, f"{function_name} --{parameter.name}"
                assert parameter.name not in TAKEN.split()
    # As the engine makes the API's name of it: a leading underscore leaves a capital, and "pipeline" is hidden.
    assert "pipeline" not in objects["Kws"].functions
    assert {"sbom", "scan", "verdict", "notes"} <= set(objects["Kws"].functions)  # the others stand in the documents
    assert {name for name, function in objects["Kws"].functions.items() if function.check} == CHECKS
    assert {"verify", "attestations", "promote", "rollback"} == set(objects["Releases"].functions)
    assert set(objects["Verdict"].fields) == {"passed", "failed", "headline", "file"}


def test_no_functions_answer_outlives_its_session(objects: Given) -> None:
    assert json.loads((ROOT / "dagger.json").read_text())["disableDefaultFunctionCaching"] is True
    for each in objects.values():
        assert {function.cache_policy for function in each.functions.values()} <= {None, "never", "session"}


def test_every_source_is_relative_to_the_module_and_narrowed(objects: Given) -> None:
    parameters = objects["Kws"].get_constructor().parameters
    defaults = {name: parameter for name, parameter in parameters.items() if parameter.default_path}
    assert set(defaults) == {*SOURCES, *FILES, "git"}
    for name, parameter in defaults.items():
        # A folder of a larger repository has no .git of its own: that alone is looked for at the top.
        assert str(parameter.default_path).startswith("/") == (name == "git"), name
        assert name in FILES or parameter.ignore, name


SECRET, FILE, FOLDER = "a secret", "a file", "a folder"
MAKES = {SECRET: lambda: dag.set_secret("x", "x"), FILE: lambda: marked("x").file("x"), FOLDER: lambda: marked("x")}


def made(given: Given) -> Given:
    return {name: MAKES[value]() if str(value) in MAKES else value for name, value in given.items()}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"synthetic": True, "dataset": FILE}, "--dataset and --synthetic exclude each other"),
        ({"dataset": FILE, "dataset_folder": FOLDER}, "--dataset and --dataset-folder exclude each other"),
        ({"training": ["epochs"]}, "--training: 'epochs' is not NAME=VALUE"),
        ({"training": ["dataset=x"]}, "--training: 'dataset=x' has an option of its own, --dataset"),
        ({"tool_images": ["syft"]}, "--tool-images: 'syft' is not NAME=ADDRESS"),
        ({"created": "yesterday"}, "--created 'yesterday' is not of the form"),
        ({"address": "ghcr.io/me/name:latest"}, "--address"),
        ({"address": "127.0.0.1:5000/me/name"}, "--registry=tcp://127.0.0.1:5000"),
        ({"username": "me"}, "--username and --password go together"),
        ({"signing_key": SECRET, "oidc_request_url": SECRET}, "--oidc-request-url exclude each other"),
        ({"signing_key": SECRET, "id_token": SECRET}, "--signing-key and --id-token exclude each other"),
        ({"id_token": SECRET}, "--identity and --issuer are missing"),
        ({"oidc_request_url": SECRET}, "--oidc-request-url and --oidc-request-token go together"),
        ({"oidc_request_url": SECRET, "oidc_request_token": SECRET}, "--identity and --issuer are missing"),
        ({"identity": "^x$"}, "--identity and --issuer go together"),
    ],
)
def test_what_cannot_be_meant_is_named_before_any_work(given: Given, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        settings(**made(given))


JUDGE = {"reference": "latest", "model": FILE}
CALLS: list[tuple[str, Given, Given, str]] = [
    ("pipeline", {"platforms": ["linux/arm64"]}, {}, "--platforms: choose of linux/amd64, linux/arm64, and linux/amd"),
    ("pipeline", {"platforms": ["linux/amd64", "plan9/mips"]}, {}, "--platforms: choose of linux/amd64"),
    ("test_predict", {}, JUDGE, "--reference and --model exclude each other"),
    ("sweep", {}, {"seeds": [1]}, "--seeds"),
    ("sweep", {}, {"seeds": []}, "--seeds"),
    ("sweep", {}, {"settings": ["width"]}, "--settings"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("function", "shared", "given", "named"), CALLS)
async def test_what_a_function_cannot_be_told(
    engine: Engine, function: str, shared: Given, given: Given, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        await getattr(settings(**shared), function)(**made(given))
    assert engine.said("model train") == []
