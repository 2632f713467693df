"""The image: what goes into what, in layers, and the one archive that all else looks at."""

from __future__ import annotations

from typing import Any

import dagger
import pytest

from .conftest import BASE, DIGEST, Engine, query_error, settings
from .graph import chain, commands, everything, marked, marks

pytestmark = pytest.mark.anyio


def container(**given: Any) -> Any:
    from kws_ci.image import Builder

    return Builder(settings(**given)).container(marked("model").file("model.onnx"))


async def archive(engine: Engine, **given: Any) -> Any:
    return await settings(**given).image_tar(model=marked("model").file("model.onnx"))


async def test_dependencies_are_installed_before_code_is_copied(engine: Engine) -> None:
    for thing, code in ((await settings().train(), "model_source"), (container(), "service_source")):
        steps = chain(thing)
        copied = [at for at, (_, args) in enumerate(steps) if "source" in args and code in marks(args["source"])]
        installed = [at for at, (_, args) in enumerate(steps)
                     if "tools/install.py" in args.get("args", []) or args.get("path") == "/opt/venv"]  # fmt: skip
        assert installed
        assert max(installed) < min(copied)


async def test_an_edit_of_code_does_not_install_again() -> None:
    from kws_ci.containers import Toolbox

    assert marks(Toolbox(settings()).installed("model")) == {"dependencies"}


async def test_the_image_holds_environment_code_and_model_in_three_layers() -> None:
    from kws_ci.image import LAYERS

    image = container()
    layers = [args for name, args in chain(image) if name in ("withDirectory", "withFile", "withExec")]
    assert [marks(layer["source"]) for layer in layers] == [
        {"dependencies"},
        {"kws_source", "service_source"},
        {"model"},
    ]
    assert len(layers) == LAYERS
    calls = dict(chain(image))
    user, _, group = calls["withUser"]["name"].partition(":")
    assert (int(user) > 0, int(group) > 0) == (True, True)
    assert calls["withDockerHealthcheck"]["args"] == ["python", "-m", "service.healthcheck"]
    assert calls["withExposedPort"]["port"] == 8000


async def test_the_image_says_where_all_of_it_comes_from(engine: Engine) -> None:
    made = await archive(engine, repository="https://example.org/kws", revision="abc")
    labels = {args["name"]: args["value"] for name, args in everything(made) if name == "withLabel"}
    assert labels["org.opencontainers.image.source"] == "https://example.org/kws"
    assert labels["org.opencontainers.image.revision"] == "abc"
    assert labels["org.opencontainers.image.base.digest"] == BASE
    assert {labels[f"kws.{name}"] for name in ("model.digest", "model.version", "data.digest")} == {
        *(f"sha256:{'c' * 64}", "v", "d")
    }
    assert "org.opencontainers.image.version" not in labels


async def test_the_archive_is_packed_with_the_commits_time_and_the_base_left_alone(engine: Engine) -> None:
    made = await archive(engine, created="2026-03-01T12:00:00Z")
    packed = [command for command in commands(made) if command[0] in ("tar", "regctl")]
    source, sealed = f"ocidir:///oci@{DIGEST}", "ocidir:///oci:sealed"
    assert packed == [
        ["tar", "--extract", "--file=/engine.tar", "--directory=/oci"],
        ["regctl", "image", "mod", source, "--create=sealed", "--time", "set=2026-03-01T12:00:00Z,base-layers=1"],
        ["regctl", "image", "export", sealed, "/inference_image.tar"],
    ]
    assert chain(made)[-1] == ("file", {"path": "/inference_image.tar"})


@pytest.mark.parametrize(
    ("created", "moment"),
    [
        ("", "1970-01-01T00:00:00Z"),
        ("2026-03-01T12:00:00+01:00", "2026-03-01T11:00:00Z"),
        ("2026-03-01T12:00:00", "has no time zone"),
        ("yesterday", "is not ISO 8601"),
    ],
)
async def test_moments(created: str, moment: str) -> None:
    from kws_ci import image

    if moment.endswith("Z"):
        assert image.moment(created) == moment
    else:
        with pytest.raises(ValueError, match=moment):
            image.moment(created)


async def test_a_foreign_platform_is_only_put_together(engine: Engine) -> None:
    made = await archive(engine, platforms=["linux/amd64", "linux/arm64"])
    (exported,) = [args for name, args in everything(made) if name == "asTarball"]
    (foreign,) = exported["platformVariants"]
    assert dict(chain(foreign))["container"] == {"platform": "linux/arm64"}
    assert not [name for name, _ in chain(foreign) if name == "withExec"]
    assert [command for command in commands(foreign) if "--platform=linux/arm64" in command]


@pytest.mark.parametrize(
    ("platforms", "named"),
    [(["linux/arm64"], "lacks linux/amd64"), (["linux/amd64", "plan9/mips"], "'plan9/mips' is unknown")],
)
async def test_platforms_that_cannot_be(engine: Engine, platforms: list[str], named: str) -> None:
    for function in (settings(platforms=platforms).pipeline, settings(platforms=platforms).image_tar):
        with pytest.raises(ValueError, match=f"--platforms:? {named}"):
            await function()


@pytest.mark.parametrize("runs", [True, False])
async def test_other_platforms_are_tested_where_this_machine_can_run_them(engine: Engine, runs: bool) -> None:
    if not runs:
        engine.programs["python --version"] = (255, "", "exec format error")
    result = await settings(platforms=["linux/amd64", "linux/arm64"]).pipeline()
    placed = {args["path"]: args["source"] for name, args in everything(result) if name == "withDirectory"}
    errors = [args["contents"] for name, args in everything(result) if args.get("path") == "error.txt"]
    tested = [command for command in commands(placed["platforms/linux-arm64"]) if "service.test_client" in command]
    assert (bool(tested), errors) == ((True, []) if runs else (False, ["this machine cannot run linux/arm64\n"]))


async def test_mirrors_reach_every_container(engine: Engine, signed: dict[str, Any]) -> None:
    from kws_ci.containers import TOOLS

    mirrors = {
        "base_image": "mirror/python",
        "package_index": "https://pypi.mirror",
        "torch_index": "https://torch.mirror",
    }
    images = [f"{name}=mirror/{name}" for name in TOOLS]
    kws = settings(**mirrors, tool_images=images, **signed)
    engine.files["gates.json"] = "{}"
    await kws.pipeline()
    await kws.scan(model=marked("m").file("m"))
    engine.answers["entries"] = ["pipeline.yml"]
    await kws.workflows()
    for _, context in engine.asked:
        bases = {args["address"] for name, args in everything(context) if name == "from"}
        assert bases <= {"mirror/python", *(image.partition("=")[2] for image in images)}
        for name, args in everything(context):
            if name == "withEnvVariable" and args["name"].endswith("_INDEX"):
                assert args["value"] == mirrors[args["name"].lower().removeprefix("kws_")]


async def test_what_is_tested_is_loaded_from_the_archive(engine: Engine) -> None:
    result = await settings().pipeline()
    bound = [
        args["service"] for name, args in everything(result) if name == "withServiceBinding" and args["alias"] == "api"
    ]
    assert bound
    for service in bound:
        assert [args["source"] for name, args in chain(service) if name == "import"]
    kept = [args["source"] for name, args in everything(result) if args.get("path") == "inference_image.tar"]
    (imported,) = {id(args["source"]) for service in bound for name, args in chain(service) if name == "import"}
    assert imported == id(kept[0])


@pytest.mark.parametrize(("code", "times"), [(0, 1), (3, 2)])
async def test_a_test_that_failed_is_no_answer_of_a_cache(engine: Engine, code: int, times: int) -> None:
    engine.programs["service.test_client"] = (code, "", "")
    await settings().pipeline()
    tests = engine.with_command("service.test_client")
    runs = {args["value"] for context in tests for name, args in chain(context) if args.get("name") == "KWS_RUN"}
    assert len(runs) == times - 1


async def test_a_service_that_does_not_start_is_a_finding(engine: Engine) -> None:
    def refuse(_: list[str]) -> Any:
        raise query_error("start service\nexited with 1")

    engine.programs["service.test_client"] = refuse
    result = await settings().pipeline()
    errors = [args["contents"] for name, args in everything(result) if args.get("path") == "error.txt"]
    assert ["exited with 1" in error for error in errors] == [True]
    assert isinstance(result, dagger.Directory)
