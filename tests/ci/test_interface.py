"""What `dagger functions` and `--help` show: every function and argument is documented, and caching is safe."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Engine
from .graph import everything


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


FILES = ("gates_file", "audit_file", "changelog")


@pytest.fixture
def kws() -> Any:
    from kws_ci.main import Kws

    return Kws.__dagger_module__.get_object("Kws")  # type: ignore[attr-defined]


def test_every_function_and_argument_is_documented(kws: Any) -> None:
    for name, function in kws.functions.items():
        assert function.doc, name
        for parameter in function.parameters.values():
            assert parameter.doc, f"{name} --{parameter.name}"


def test_no_argument_is_hidden_by_an_option_of_the_cli_itself(kws: Any) -> None:
    # `dagger call --help`, 0.21.8
    taken = {"allow_llm", "auto_apply", "debug", "eager_runtime", "help", "interactive", "interactive_command", "json"}
    taken |= {
        "lock",
        "mod",
        "no_exit",
        "no_mod",
        "output",
        "progress",
        "quiet",
        "silent",
        "verbose",
        "web",
        "x_release",
    }
    for function in (kws.get_constructor(), *kws.functions.values()):
        assert not {parameter.name for parameter in function.parameters.values()} & taken


def test_the_stages_are_all_there(kws: Any) -> None:
    assert {"train", "build", "image_tar", "publish", "test_predict", "serve", "sweep", "shell", "_pipeline"} <= set(
        kws.functions
    )


def test_the_pipeline_is_not_hidden_by_the_cli(kws: Any) -> None:
    # As the engine makes the API's name of it: a leading underscore leaves a capital, and "pipeline" is hidden.
    assert "pipeline" not in kws.functions
    assert "_pipeline" in kws.functions


def test_what_publishes_is_never_answered_from_the_function_cache(kws: Any) -> None:
    for name in ("publish", "_pipeline", "comment", "release", "doctor"):
        assert kws.functions[name].cache_policy == "never"


def test_checks_need_no_argument(kws: Any) -> None:
    checks = {name: function for name, function in kws.functions.items() if function.check}
    assert set(checks) == {"lint", "workflows", "types", "unit_tests", "predict"}
    assert not [name for name, function in checks.items() if function.parameters]


def test_every_source_is_narrowed(kws: Any) -> None:
    constructor = kws.get_constructor()
    sources = [p for p in constructor.parameters.values() if p.default_path and p.name not in FILES]
    assert len(sources) == 5
    for parameter in constructor.parameters.values():
        assert parameter.doc, parameter.name
    for parameter in sources:
        assert parameter.ignore, parameter.name


@pytest.mark.anyio
async def test_the_module_can_be_described_to_an_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from kws_ci.main import Kws

    module = Kws.__dagger_module__  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "_main_name", "Kws")
    monkeypatch.setattr(module, "_main", module.get_object("Kws"))
    engine.answers["id"] = "module"
    await module._typedefs()
    described = next(context for name, _, context in engine.asked if name == "id")
    members = {args["name"] for name, args in everything(described) if name == "withEnumMember"}
    assert members == {"TRAIN", "IMAGE", "PROBE", "TOOLS"}
    objects = {args["name"] for name, args in everything(described) if name == "withObject" and args.get("name")}
    assert {"Kws", "Releases", "Sweep"} <= objects
