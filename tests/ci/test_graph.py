"""Wiring of the stages: what goes into what, and what happens when a step fails."""

from __future__ import annotations

from typing import Any

import dagger
import pytest
from dagger import dag
from dagger._exceptions import QueryErrorValue
from gql import GraphQLRequest

from .conftest import Engine
from .graph import chain, commands, everything, marked, marks

pytestmark = pytest.mark.anyio
SOURCES = ("dependencies", "model_source", "service_source", "tools_source", "checkout")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def module(**settings: Any) -> Any:
    from kws_ci.main import Kws

    files = {
        "gates_file": marked("gates").file("gates.toml"),
        "audit_file": marked("audit").file("audit.toml"),
        "changelog": marked("changelog").file("CHANGELOG.md"),
    }
    return Kws(**{name: marked(name) for name in SOURCES}, **files, **settings)


def test_dependencies_are_installed_before_code_is_copied() -> None:
    kws = module()
    for thing, code in ((kws._trainer, "model_source"), (kws._build(marked("m").file("m")), "service_source")):
        steps = chain(thing)
        copied = [at for at, (_, args) in enumerate(steps) if "source" in args and code in marks(args["source"])]
        installed = [
            at for at, (name, args) in enumerate(steps) if name == "withExec" or args.get("path") == "/opt/venv"
        ]
        assert max(installed) < min(copied)


def test_an_edit_of_the_service_does_not_retrain() -> None:
    kws = module()
    assert marks(kws.train(synthetic=True)) == {"dependencies", "model_source"}


def test_an_edit_of_code_does_not_install_again() -> None:
    from kws_ci.environment import Environment

    environment = Environment("base", "", "", marked("lock"))
    assert marks(environment.with_groups("model")) == {"lock"}


def test_the_image_holds_only_environment_service_and_model() -> None:
    image = module()._build(marked("model").file("model.onnx"))
    layers = [args for name, args in chain(image) if name in ("withDirectory", "withFile", "withExec")]
    assert [marks(layer["source"]) for layer in layers] == [{"dependencies"}, {"service_source"}, {"model"}]
    assert marks(image) == {"dependencies", "service_source", "model"}
    installs = [command for command in commands(image) if "tools/install.py" in command]
    assert installs == [["python", "tools/install.py", "--venv", "/opt/venv", "service"]]


def test_the_image_runs_as_a_numeric_user_with_a_healthcheck() -> None:
    calls = dict(chain(module()._build(marked("model").file("model.onnx"))))
    user, _, group = calls["withUser"]["name"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert calls["withDockerHealthcheck"]["args"] == ["python", "-m", "service.healthcheck"]
    assert calls["withExposedPort"]["port"] == 8000


def test_labels_name_the_origin_and_leave_out_what_is_unknown() -> None:
    kws = module(repository="https://example.org/kws", revision="abc")
    image = kws._build(marked("model").file("model.onnx"))
    labels = {args["name"]: args["value"] for name, args in chain(image) if name == "withLabel"}
    assert labels["org.opencontainers.image.source"] == "https://example.org/kws"
    assert labels["org.opencontainers.image.revision"] == "abc"
    assert "org.opencontainers.image.version" not in labels


def test_mirrors_reach_every_container() -> None:
    kws = module(base_image="mirror/python", package_index="https://pypi.mirror", torch_index="https://torch.mirror")
    image = kws._build(kws.train(synthetic=True).file("model.onnx"))
    bases = {args["address"] for name, args in everything(image) if name == "from"}
    assert bases == {"mirror/python"}
    environment = {(args["name"], args["value"]) for name, args in everything(image) if name == "withEnvVariable"}
    assert ("KWS_PACKAGE_INDEX", "https://pypi.mirror") in environment
    assert ("KWS_TORCH_INDEX", "https://torch.mirror") in environment


def test_the_official_archive_comes_verified_from_the_mirror_named() -> None:
    checksum = f"sha256:{'0' * 64}"
    kws = module(dataset_url="https://mirror/set.tar.gz", dataset_sha256=checksum)
    downloads = [args for name, args in everything(kws.train()) if name == "http"]
    assert downloads == [{"url": "https://mirror/set.tar.gz", "checksum": checksum}]


def test_training_options_reach_the_trainer() -> None:
    trained = module().train(synthetic=True, profile="quick", epochs=3, seed=7, labels=["up", "no"])
    data = next(command for command in commands(trained) if "data" in command)
    train = next(command for command in commands(trained) if "train" in command)
    assert {"--profile=quick", "--epochs=3", "--seed=7", "--labels=up,no"} <= set(train)
    assert {"--synthetic-seed=7", "--labels=up,no"} <= set(data)


def test_a_given_model_is_not_trained_again() -> None:
    assert not [c for c in commands(module().build(model=marked("m").file("model.onnx"))) if "train" in c]


async def test_pipeline_without_an_address_publishes_nothing(engine: Engine) -> None:
    await module().pipeline(synthetic=True)
    assert engine.releases() == []


async def test_pipeline_publishes_then_pulls_the_digest_and_tests_it(engine: Engine) -> None:
    result = await module().pipeline(synthetic=True, address="ghcr.io/me/name", tags=["latest", "v1"])
    ((command, _),) = engine.releases()
    assert "--address=ghcr.io/me/name" in command
    assert command[command.index("--tags") :] == ["--tags", "latest", "v1"]
    kinds = [part.partition("=")[2].partition("=")[0] for part in command if part.startswith("--attach=")]
    assert kinds == ["sbom", "evaluation", "model", "figures", "provenance"]
    pulled = f"ghcr.io/me/name@sha256:{'a' * 64}"
    assert pulled in [args["address"] for name, args in everything(result) if name == "from"]
    probes = [command for command in commands(result) if "service.probe" in command]
    assert len(probes) >= 2


async def test_a_failed_gate_stops_before_publishing_and_still_returns(engine: Engine) -> None:
    engine.exit_codes["tools.report"] = 3
    result = await module().pipeline(synthetic=True, address="ghcr.io/me/name")
    assert engine.releases() == []
    assert chain(result)[-1] == ("directory", {"path": "/artifacts"})


async def test_the_test_judges_before_anything_is_published(engine: Engine) -> None:
    await module().pipeline(synthetic=True, address="ghcr.io/me/name")
    ((_, released),) = engine.releases()
    order = [context for _, _, context in engine.asked]
    judged = [context for name, _, context in engine.asked if name == "exitCode"][-1]
    assert order.index(judged) < order.index(released)
    assert any("service.probe" in command for command in commands(judged))


async def test_a_bound_that_cannot_be_meant_stops_before_any_training(engine: Engine) -> None:
    engine.exit_codes["tools.bounds"] = 2
    engine.answers["stderr"] = "bounds: no gate has a bound 'x'\n"
    with pytest.raises(ValueError, match="--bounds: bounds: no gate has a bound 'x'"):
        await module().pipeline(synthetic=True, bounds=["x=1"])
    assert [name for name, _, _ in engine.asked] == ["exitCode", "stderr"]


async def test_bounds_and_the_last_release_reach_the_judge_alone(engine: Engine) -> None:
    release = marked("release").file("gates.json")
    result = await module().pipeline(synthetic=True, bounds=["max_p95_ms=7"], last_release=release)
    judge = next(command for command in commands(result) if "tools.report" in command)
    assert judge[judge.index("--bounds") + 1] == "max_p95_ms=7"
    assert judge[-2:] == ["--release", "/release.json"]
    assert {"gates", "release"} <= marks(result)
    others = [command for command in commands(result) if "tools.report" not in command]
    assert not [command for command in others if any("max_p95_ms" in part for part in command)]


def fetches(engine: Engine) -> list[Any]:
    """Each time that the registry was asked for the last release."""
    asked = [context for name, _, context in engine.asked if name == "stdout"]
    return [context for context in asked if any("fetch" in args.get("args", []) for _, args in chain(context))]


@pytest.mark.parametrize(
    ("attached", "read"),
    [
        (["evaluation.json"], "evaluation.json"),
        (["evaluation.json", "figures.json"], "figures.json"),
    ],
)
async def test_the_last_release_is_read_back_and_reaches_the_judge(
    engine: Engine, attached: list[str], read: str
) -> None:
    engine.answers["entries"] = attached
    result = await module().pipeline(synthetic=True, address="ghcr.io/me/name")
    (asked,) = fetches(engine)
    (command,) = [args["args"] for _, args in chain(asked) if "fetch" in args.get("args", [])]
    assert {"--address=ghcr.io/me/name", "latest", "--optional"} <= set(command)
    assert read in marks(result)
    for judge in (command for command in commands(result) if "tools.report" in command):
        assert judge[-2:] == ["--release", "/release.json"]


async def test_where_nothing_is_attached_the_report_says_why(engine: Engine) -> None:
    result = await module().pipeline(synthetic=True, address="ghcr.io/me/name")
    judge = next(command for command in commands(result) if "tools.report" in command)
    assert judge[-1].startswith("--no-release=ghcr.io/me/name")


@pytest.mark.parametrize("publish", [True, False])
async def test_a_registry_that_refuses_stops_before_any_training(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, publish: bool
) -> None:
    from kws_ci import last_release

    async def refused(_: Any) -> str:
        raise RuntimeError("registry: ghcr.io refuses these credentials")

    monkeypatch.setattr(last_release, "said", refused)
    with pytest.raises(RuntimeError, match="refuses these credentials"):
        await module().pipeline(synthetic=True, address="ghcr.io/me/name", publish=publish)
    assert not [c for _, _, context in engine.asked for c in commands(context) if "train" in c]


async def test_a_file_replaces_the_last_release(engine: Engine) -> None:
    release = marked("release").file("gates.json")
    result = await module().pipeline(synthetic=True, address="ghcr.io/me/name", last_release=release)
    assert fetches(engine) == []
    assert "release" in marks(result)


async def test_an_address_can_be_compared_with_alone(engine: Engine) -> None:
    await module().pipeline(synthetic=True, address="ghcr.io/me/name", publish=False)
    assert len(fetches(engine)) == 1
    assert engine.releases() == []


async def test_alone_the_probe_judges_by_the_same_file(engine: Engine) -> None:
    tested = await module().test_predict(synthetic=True, bounds=["min_clip_accuracy=0.8"])
    probe = next(command for command in commands(tested) if "service.probe" in command)
    # A gate that is off (null) is no limit.
    assert [part for part in probe if part.startswith(("--min", "--max"))] == ["--min-accuracy=0.8"]


async def test_the_time_of_a_start_is_taken_in_the_image_itself(engine: Engine) -> None:
    result = await module().pipeline(synthetic=True)
    started = next(command for command in commands(result) if "/start_time.py" in command)
    assert started[-2:] == ["--", "serve"]


async def test_the_password_goes_to_the_registry_login_alone(engine: Engine) -> None:
    secret = dag.set_secret("password", "hunter2")
    result = await module().pipeline(synthetic=True, address="ghcr.io/me/name", username="me", password=secret)
    logins = [args for name, args in everything(result) if name == "withRegistryAuth"]
    assert logins
    assert all(args["secret"] is secret for args in logins)
    ((command, released),) = engine.releases()
    mounts = [args for name, args in everything(released) if name == "withMountedSecret"]
    assert [(mount["path"], mount["source"]) for mount in mounts] == [("/run/secrets/password", secret)]
    assert "--password-file=/run/secrets/password" in command
    secrets = ("withSecretVariable", "withMountedSecret")
    assert not [name for name, _ in everything(result) if name in secrets]


async def test_a_registry_on_the_callers_machine_serves_push_and_pull(engine: Engine) -> None:
    service = dag.container().as_service()
    result = await module().pipeline(synthetic=True, address="127.0.0.1:5000/me/name", registry=service)
    ((command, released),) = engine.releases()
    assert {"--endpoint=registry:5000/me/name", "--plain-http"} <= set(command)
    assert [args["service"] for name, args in chain(released) if name == "withServiceBinding"] == [service]
    pulls = [args for name, args in everything(result) if name == "from" and "@sha256" in args["address"]]
    assert pulls
    assert all(args["registryService"] is service for args in pulls)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"address": "https://ghcr.io/me/name"}, "--address"),
        ({"address": "ghcr.io/Me/Name"}, "--address"),
        ({"address": "ghcr.io/me/name:latest"}, "--address"),
        ({"address": "me/name"}, "--address"),
        ({"address": "127.0.0.1:5000/me/name"}, "--registry=tcp://127.0.0.1:5000"),
        ({"address": "ghcr.io/me/name", "username": "me"}, "--password"),
        ({"address": "ghcr.io/me/name", "tags": []}, "--tags"),
        ({"address": "ghcr.io/me/name", "tags": ["a b"]}, "--tags"),
    ],
)
async def test_arguments_that_cannot_work_are_named_before_any_work(
    engine: Engine, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        await module().pipeline(synthetic=True, **arguments)
    assert engine.asked == []


async def test_every_release_is_pushed_anew_and_signed_with_the_key(engine: Engine) -> None:
    key = dag.set_secret("key", "private")
    for _ in range(2):
        await module().publish(model=marked("m").file("m"), address="ghcr.io/me/name", signing_key=key)
    runs = [args["value"] for _, context in engine.releases() for name, args in chain(context)
            if name == "withEnvVariable" and args["name"] == "KWS_RUN"]  # fmt: skip
    assert len(set(runs)) == 2
    assert all("--key=/run/secrets/cosign.key" in command for command, _ in engine.releases())


@pytest.mark.parametrize("token", ["", " \n", None])
async def test_keyless_signing_with_an_empty_request_is_refused_at_once(engine: Engine, token: str | None) -> None:
    engine.answers["plaintext"] = token
    url, secret = dag.set_secret("url", "u"), None if token is None else dag.set_secret("token", token)
    with pytest.raises(ValueError, match=r"--oidc-request-(url|token) is empty"):
        await module().pipeline(synthetic=True, oidc_request_url=None if token is None else url,
                                oidc_request_token=secret or url)  # fmt: skip
    assert {name for name, _, _ in engine.asked} <= {"plaintext"}


@pytest.mark.parametrize(
    ("origin", "tags"),
    [
        ({"revision": "0123abc", "branch": "master"}, ["0123abc", "master", "latest"]),
        ({"revision": "0123abc", "branch": "feature/x"}, ["0123abc", "feature-x"]),
        ({"revision": "0123abc", "version": "v1.2.3"}, ["0123abc", "1.2.3"]),
        ({"version": "v1.2.3+build"}, ["1.2.3-build"]),
        ({}, ["latest"]),
    ],
)
async def test_tags_follow_the_rule(engine: Engine, origin: dict[str, str], tags: list[str]) -> None:
    await module(**origin).publish(model=marked("m").file("m"), address="ghcr.io/me/name")
    ((command, _),) = engine.releases()
    assert command[command.index("--tags") + 1 :] == tags


async def test_a_foreign_platform_is_only_put_together(engine: Engine) -> None:
    archive = await module(platforms=["linux/amd64", "linux/arm64"]).image_tar(marked("m").file("m"))
    exports = [
        args["source"] for name, args in chain(archive) if name == "withMountedFile" and "/images" in args["path"]
    ]
    native, foreign = exports
    assert dict(chain(foreign))["container"] == {"platform": "linux/arm64"}
    assert not [name for name, _ in chain(foreign) if name == "withExec"]
    assert [command for command in commands(foreign) if "--platform=linux/arm64" in command]
    assert not [command for command in commands(native) if "--platform=linux/arm64" in command]
    with pytest.raises(ValueError, match="--platforms lacks linux/amd64"):
        await module(platforms=["linux/arm64"]).image_tar(marked("m").file("m"))


async def test_archive_and_synthetic_exclude_each_other(engine: Engine) -> None:
    with pytest.raises(ValueError, match="--synthetic"):
        await module().pipeline(dataset=marked("d").file("d.tar.gz"), synthetic=True)


async def test_of_parallel_steps_the_first_failure_is_raised_bare() -> None:
    from kws_ci.concurrency import together

    async def fail() -> None:
        raise dagger.DaggerError("step broke")

    async def succeed() -> int:
        return 1

    assert await together(succeed(), succeed()) == [1, 1]
    with pytest.raises(dagger.DaggerError, match="step broke"):
        await together(succeed(), fail())


@pytest.mark.parametrize(
    ("stderr", "line"),
    [("loading\nerror: --labels 'up' names fewer than two words\n", "error: --labels"), ("", "code: 137")],
)
async def test_of_a_program_that_failed_its_last_line_is_raised(stderr: str, line: str) -> None:
    from kws_ci.concurrency import together

    async def fail() -> None:
        found = {"_type": "EXEC_ERROR", "cmd": ["python"], "exitCode": 137, "stdout": "", "stderr": stderr}
        raise dagger.QueryError([QueryErrorValue("exit code: 137", extensions=found)], GraphQLRequest("{a}"))

    with pytest.raises(RuntimeError, match=line) as raised:
        await together(fail())
    assert "\n" not in str(raised.value)
