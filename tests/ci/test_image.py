"""The image: where it comes from, and the one archive that all else looks at."""

from unittest.mock import Mock

import pytest

from .conftest import BASE, Engine, Given, query_error, settings
from .graph import chain, everything, marked

pytestmark = pytest.mark.anyio


async def test_the_archive_says_where_all_of_it_comes_from_and_has_the_commits_time_alone(engine: Engine) -> None:
    kws, moment = settings(revision="abc", created="2026-03-01T12:00:00+01:00"), "2026-03-01T11:00:00Z"
    made = await kws.image_tar(model=marked("model").file("model.onnx"))
    labels = {args["name"]: args["value"] for name, args in everything(made) if name == "withLabel"}
    told = {"org.opencontainers.image.revision": "abc", "org.opencontainers.image.base.digest": BASE}
    told |= {"kws.model.digest": f"sha256:{'c' * 64}", "kws.model.version": "v", "kws.data.digest": "d"}
    assert told.items() <= labels.items()
    assert "org.opencontainers.image.version" not in labels
    calls = dict(everything(made))
    assert calls["withUser"] == {"name": "10001:10001"}  # Kubernetes' runAsNonRoot knows numbers alone
    assert calls["withDockerHealthcheck"]["args"] == ["python", "-m", "service.healthcheck"]
    assert [f"--time set={moment},base-layers=1" in line for line in engine.said("image mod")] == [True]


@pytest.mark.parametrize("starts", [True, False])
async def test_another_platform_is_tested_and_that_it_does_not_start_is_a_finding(engine: Engine, starts: bool) -> None:
    refuse = Mock(side_effect=query_error("start service\nexec format error"))
    engine.programs |= {} if starts else {"service.test_client": refuse}
    steps = list(everything(await settings(platforms=["linux/amd64", "linux/arm64"]).pipeline()))
    (foreign,) = [args["source"] for _, args in steps if args.get("path") == "platforms/linux-arm64"]
    assert starts == (("container", {"platform": "linux/arm64"}) in everything(foreign))
    errors = [args["contents"] for _, args in steps if args.get("path") == "error.txt"]
    assert ["exec format error" in error for error in errors] == ([] if starts else [True, True])


async def test_mirrors_reach_every_container(engine: Engine, signed: Given) -> None:
    from kws_ci.containers import TOOLS

    mirrors = {"base_image": "mirror/python", "package_index": "https://pypi", "torch_index": "https://torch"}
    images = [f"{name}=mirror/{name}" for name in TOOLS]
    kws = settings(**mirrors, tool_images=images, **signed)
    await kws.pipeline()
    await kws.scan(model=marked("m").file("m"))
    await kws.workflows()
    steps = engine.steps()
    bases = {args["address"] for name, args in steps if name == "from"}
    assert bases == {"mirror/python", *(image.partition("=")[2] for image in images)}
    variables = [args for name, args in steps if name == "withEnvVariable" and args["name"].endswith("_INDEX")]
    told = {args["name"].lower().removeprefix("kws_"): args["value"] for args in variables}
    assert told.items() == mirrors.items() - {("base_image", "mirror/python")}


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
    assert len({args["value"] for steps in chains for _, args in steps if args.get("name") == "KWS_RUN"}) == times
