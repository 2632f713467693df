"""The image: what goes into what, in layers, and the one archive that all else looks at."""

from typing import Any

import pytest

from .conftest import BASE, DIGEST, Engine, Given, query_error, settings
from .graph import chain, commands, everything, marked, marks

pytestmark = pytest.mark.anyio
BOTH = ["linux/amd64", "linux/arm64"]


def container(**given: Any) -> Any:
    from kws_ci import image

    return image.container(settings(**given), marked("model").file("model.onnx"))


async def archive(**given: Any) -> Any:
    return await settings(**given).image_tar(model=marked("model").file("model.onnx"))


async def test_the_image_holds_environment_code_and_model_in_three_layers() -> None:
    from kws_ci.image import LAYERS

    layers = [args for name, args in chain(container()) if name in ("withDirectory", "withFile", "withExec")]
    wanted = [{"dependencies"}, {"kws_source", "service_source"}, {"model"}]
    assert [marks(layer["source"]) for layer in layers] == wanted
    assert len(layers) == LAYERS
    assert marks(settings().installed("model")) == {"dependencies"}  # an edit of code does not install again
    calls = dict(chain(container()))
    assert all(int(part) > 0 for part in calls["withUser"]["name"].split(":"))
    assert calls["withDockerHealthcheck"]["args"] == ["python", "-m", "service.healthcheck"]


async def test_the_image_says_where_all_of_it_comes_from(engine: Engine) -> None:
    made = await archive(revision="abc")
    labels = {args["name"]: args["value"] for name, args in everything(made) if name == "withLabel"}
    told = {"org.opencontainers.image.revision": "abc", "org.opencontainers.image.base.digest": BASE}
    told |= {"kws.model.digest": f"sha256:{'c' * 64}", "kws.model.version": "v", "kws.data.digest": "d"}
    assert told.items() <= labels.items()
    assert "org.opencontainers.image.version" not in labels


async def test_the_archive_is_packed_with_the_commits_time_and_the_base_left_alone(engine: Engine) -> None:
    assert settings().moment == "1970-01-01T00:00:00Z"
    made, moment = await archive(created="2026-03-01T12:00:00+01:00"), "2026-03-01T11:00:00Z"
    source, sealed = f"ocidir:///oci@{DIGEST}", "ocidir:///oci:sealed"
    assert [command for command in commands(made) if command[0] in ("tar", "regctl")] == [
        ["tar", "--extract", "--file=/engine.tar", "--directory=/oci"],
        ["regctl", "image", "mod", source, "--create=sealed", "--time", f"set={moment},base-layers=1"],
        ["regctl", "image", "export", sealed, "/inference_image.tar"],
    ]


async def test_other_platforms_are_tested_and_one_that_does_not_start_is_a_finding(engine: Engine) -> None:
    steps = list(everything(await settings(platforms=BOTH).pipeline()))
    (foreign,) = [args["source"] for _, args in steps if args.get("path") == "platforms/linux-arm64"]
    assert [command for command in commands(foreign) if "service.test_client" in command]
    assert {"platform": "linux/arm64"} in [args for name, args in everything(foreign) if name == "container"]

    def refuse(_: list[str]) -> Any:
        raise query_error("start service\nexec format error")

    engine.programs["service.test_client"] = refuse
    steps = list(everything(await settings(platforms=BOTH).pipeline()))
    errors = [args["contents"] for _, args in steps if args.get("path") == "error.txt"]
    assert ["exec format error" in error for error in errors] == [True, True]


async def test_mirrors_reach_every_container(engine: Engine, signed: Given) -> None:
    from kws_ci.containers import TOOLS

    mirrors = {"base_image": "mirror/python", "package_index": "https://pypi", "torch_index": "https://torch"}
    images = [f"{name}=mirror/{name}" for name in TOOLS]
    kws = settings(**mirrors, tool_images=images, **signed)
    await kws.pipeline()
    await kws.scan(model=marked("m").file("m"))
    await kws.workflows()
    seen: set[int] = set()
    steps = [step for context in engine.asked for step in everything(context, seen)]
    bases = {args["address"] for name, args in steps if name == "from"}
    assert bases == {"mirror/python", *(image.partition("=")[2] for image in images)}
    variables = [args for name, args in steps if name == "withEnvVariable" and args["name"].endswith("_INDEX")]
    assert variables
    assert all(args["value"] == mirrors[args["name"].lower().removeprefix("kws_")] for args in variables)


async def test_what_is_tested_is_loaded_from_the_archive(engine: Engine) -> None:
    steps = list(everything(await settings().pipeline()))
    services = [args["service"] for name, args in steps if args.get("alias") == "api"]
    imported = {id(args["source"]) for service in services for name, args in chain(service) if name == "import"}
    assert imported == {id(args["source"]) for _, args in steps if args.get("path") == "inference_image.tar"}


@pytest.mark.parametrize(("code", "times"), [(0, 0), (3, 1)])
async def test_a_test_that_failed_is_no_answer_of_a_cache(engine: Engine, code: int, times: int) -> None:
    engine.programs["service.test_client"] = (code, "", "")
    await settings().pipeline()
    chains = [chain(context) for context in engine.asked if "inference" in str(chain(context)[-2:])]
    runs = {args["value"] for steps in chains for _, args in steps if args.get("name") == "KWS_RUN"}
    assert len(runs) == times
