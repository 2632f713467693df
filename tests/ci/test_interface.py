"""What `dagger functions` and `--help` show, that caching is safe, and which arguments are refused."""

import pytest
from dagger import dag

from .conftest import FILES, SOURCES, Engine, Given, settings
from .graph import described, marked

# `dagger call --help`, 0.21.8
TAKEN = "allow_llm auto_apply debug eager_runtime help interactive interactive_command json lock mod no_exit no_mod"
TAKEN += " output progress quiet silent verbose web x_release"
OBJECTS = ("Kws", "Releases", "Verdict", "Sweep")


def test_everything_is_documented_and_nothing_hidden_by_the_cli() -> None:
    functions = {name: each for name in OBJECTS for name, each in described(name).functions.items()}
    for name, function in (*functions.items(), ("constructor", described().get_constructor())):
        assert name == "constructor" or function.doc, name
        assert [each.name for each in function.parameters.values() if not each.doc or each.name in TAKEN.split()] == []
    # As the engine makes the API's name of it: a leading underscore leaves a capital, and "pipeline" is hidden.
    assert "pipeline" not in described().functions


def test_no_functions_answer_outlives_its_session() -> None:
    """Without a word of its own an answer is kept for a week: right for the constructor, which asks nothing."""
    functions = [each for name in OBJECTS for each in described(name).functions.items()]
    assert {each.cache_policy for name, each in functions if name} == {"session"}


def test_every_source_is_relative_to_the_module_and_narrowed() -> None:
    parameters = described().get_constructor().parameters
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


KEYLESS = {"oidc_request_url": SECRET, "oidc_request_token": SECRET}
# What the constructor is told, the function that is called and what that is told, and what the error says.
WRONG: list[tuple[Given, str, Given, str]] = [
    ({"synthetic": True, "dataset": FILE}, "", {}, "--dataset and --synthetic exclude each other"),
    ({"training": ["epochs"]}, "", {}, "--training: 'epochs' is not NAME=VALUE"),
    ({"training": ["dataset=x"]}, "", {}, "--training: 'dataset=x' has an option of its own, --dataset"),
    ({"tool_images": ["syft"]}, "", {}, "--tool-images: 'syft' is not NAME=ADDRESS"),
    ({"created": "yesterday"}, "", {}, "--created 'yesterday' is not of the form"),
    ({"address": "ghcr.io/me/name:latest"}, "", {}, "--address"),
    ({"address": "127.0.0.1:5000/me/name"}, "", {}, "--registry=tcp://127.0.0.1:5000"),
    ({"username": "me"}, "", {}, "--username and --password go together"),
    ({"signing_key": SECRET, "oidc_request_url": SECRET}, "", {}, "--oidc-request-url exclude each other"),
    ({"id_token": SECRET}, "", {}, "--identity and --issuer are missing"),
    (KEYLESS, "", {}, "--identity and --issuer are missing"),
    ({"platforms": ["linux/arm64"]}, "pipeline", {}, "--platforms: choose of linux/amd64, linux/arm64, and linux/amd"),
    ({}, "test_predict", {"reference": "latest", "model": FILE}, "--reference and --model exclude each other"),
    ({}, "sweep", {"seeds": [1]}, "--seeds"),
    ({}, "sweep", {"settings": ["width"]}, "--settings"),
    ({}, "publish", {"artifacts": FOLDER}, "--address is missing"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("shared", "function", "given", "named"), WRONG)
async def test_what_cannot_be_meant(engine: Engine, shared: Given, function: str, given: Given, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        await getattr(settings(**made(shared)), function or "doctor")(**made(given))
    assert engine.said("model train") == []
