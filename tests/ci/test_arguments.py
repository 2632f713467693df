"""Arguments that cannot be meant are named, with the remedy, before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from dagger import dag

from model.settings import PROFILES
from tools import install

from .conftest import Engine
from .graph import marked
from .test_graph import module

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_profiles_and_platforms_are_those_of_trainer_and_installer() -> None:
    from kws_ci import arguments

    assert tuple(PROFILES) == arguments.PROFILES
    assert tuple(install.PLATFORMS) == arguments.PLATFORMS


@pytest.mark.parametrize("function", ["train", "pipeline", "sweep"])
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"profile": "fast"}, "--profile 'fast' is unknown: choose one of quick, standard, best"),
        ({"epochs": 0}, "--epochs 0 is out of range"),
        ({"labels": []}, "--labels '' names no word"),
        ({"labels": ["up", " "]}, "--labels 'up, ' names no word, or an empty one"),
    ],
)
async def test_of_a_training(engine: Engine, function: str, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        await getattr(module(), function)(synthetic=True, **arguments)
    assert engine.asked == []


async def test_is_shown_without_a_traceback(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    kws = module()
    with pytest.raises(ValueError, match="--profile 'fast'"):
        await type(kws).__dagger_module__.call(kws.pipeline, synthetic=True, profile="fast")
    assert caplog.text == ""


async def test_of_seeds(engine: Engine) -> None:
    with pytest.raises(ValueError, match="--seed -1 is out of range"):
        module().train(synthetic=True, seed=-1)
    with pytest.raises(ValueError, match="--seeds: -1 is out of range"):
        await module().sweep(synthetic=True, seeds=[0, -1])
    assert engine.asked == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"dataset_sha256": "af14739e"}, "--dataset-sha256 'af14739e' is no SHA-256"),
        ({"dataset_url": "mirror/set.tar.gz"}, "--dataset-url 'mirror/set.tar.gz' is not an address"),
        ({"created": "yesterday"}, "--created 'yesterday' is neither ISO 8601 nor seconds"),
        ({"created": "2026-03-01T12:00:00"}, "--created '2026-03-01T12:00:00' has no time zone"),
        ({"created": "9" * 20}, "--created '9+' is neither"),
        ({"platforms": ["linux/amd64", "linux/z80"]}, "--platforms: 'linux/z80' is unknown: choose of linux/amd64"),
        ({"platforms": ["linux/arm64"]}, "--platforms lacks linux/amd64, the engine's own"),
        ({"platforms": ["linux/amd64"] * 2}, "names one twice"),
        ({"revision": "a b"}, "--revision: 'a b' is not a tag"),
        ({"version": "v1 2"}, "--version: '1 2' is not a tag"),
    ],
)
async def test_of_the_module(engine: Engine, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        await module(**settings).pipeline()
    # The engine's own platform is known without a container.
    assert {name for name, _, _ in engine.asked} <= {"defaultPlatform"}


@pytest.mark.parametrize(
    "reference",
    [
        "name",
        "ghcr.io/me/name",
        "ghcr.io/me/name:",
        "ghcr.io/Me/name:1",
        "ghcr.io/me/name@sha256:1",
        "127.0.0.1:5000/n",
    ],
)
async def test_of_a_reference(engine: Engine, reference: str) -> None:
    with pytest.raises(ValueError, match=f"--reference '{reference}' is not HOST/NAME:TAG"):
        await module().test_predict(reference=reference)
    assert engine.asked == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"repository": "https://github.com/me/words"}, "--repository 'https://github.com/me/words' is not OWNER/NAME"),
        ({"repository": "me"}, "--repository 'me' is not OWNER/NAME"),
        ({"number": 0}, "--number 0 is no pull request's"),
    ],
)
async def test_of_what_github_is_told(engine: Engine, arguments: dict[str, Any], named: str) -> None:
    told = {"artifacts": marked("artifacts"), "repository": "me/words", "token": dag.set_secret("token", "hunter2")}
    with pytest.raises(ValueError, match=named):
        await module().comment(**{**told, "number": 7, **arguments})
    if "repository" in arguments:
        with pytest.raises(ValueError, match=named):
            await module().release(**{**told, "tag": "v1.2.0", **arguments})
    assert engine.asked == []


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", ""),
        ("1772366400", "2026-03-01T12:00:00Z"),
        ("2026-03-01T13:00:00+01:00", "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
    ],
)
def test_times(given: str, meant: str) -> None:
    from kws_ci.arguments import moment

    assert moment(given) == meant
