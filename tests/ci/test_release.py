"""The road of a release: its order, what stops it, and that nothing on it is answered from a cache."""

from __future__ import annotations

from typing import Any

import pytest
from dagger import dag

from .conftest import DIGEST, MODEL_DIGEST, Engine, settings
from .graph import chain, commands, everything, marked, marks

pytestmark = pytest.mark.anyio
AT = f"ghcr.io/me/name@{DIGEST}"
STEPS = ["release tags", "blob put", "image digest ghcr.io/me/name:latest", "model train", "image mod", "test_client"]
STEPS += ["judge", "image import", "image export ghcr.io", "--published", "provenance", "cosign sign --yes"]
STEPS += ["cosign attest", "image copy"]


def moved(engine: Engine) -> list[str]:
    """The tags that were moved, in order."""
    return [line.rpartition(":")[2] for line in engine.said("image copy")]


async def test_the_road_of_a_release(engine: Engine, signed: dict[str, Any]) -> None:
    result = await settings(**signed, revision="0123abc", branch="main").pipeline()
    lines = engine.said()
    found = [next(at for at, line in enumerate(lines) if step in line) for step in STEPS]
    assert found == sorted(found)
    assert moved(engine) == ["model-0123abc", "0123abc", "main", "latest"]
    assert f"regctl image import {AT} /inference_image.tar" in lines
    assert [line.rpartition("@")[2] for line in engine.said("cosign sign --")] == [DIGEST, MODEL_DIGEST]
    types = [line.split("--type ")[1].split()[0] for line in engine.said("cosign attest")]
    assert types == ["cyclonedx", "urn:kws:evaluation:v1", "slsaprovenance1"]
    # What is pulled back is tested and judged.
    (published,) = {id(args["source"]): args["source"] for _, args in everything(result)
                    if args.get("path") == "inference/published"}.values()  # fmt: skip
    assert ["regctl", "image", "export", AT, "/inference_image.tar"] in commands(published)
    assert engine.said("judge", f"--published={AT}")


async def test_without_an_address_nothing_is_published(engine: Engine) -> None:
    await settings().pipeline()
    assert engine.said("cosign") + engine.said("regctl image import") == []


STOPS = {
    "a gate": ("judge", (3, "", "failed: test accuracy")),
    "the gates of what was pulled": ("judge --published", (3, "", "failed: /predict accuracy")),
    "the push": ("image import", (1, "", "manifest digest mismatch")),
    "the pull": ("image export ghcr.io", (1, "", "not found")),
    "the signature": ("cosign sign", (1, "", "no key")),
    "an attestation": ("cosign attest --type cyclonedx", (1, "", "refused")),
    "one that does not verify": ("release attestation --type slsaprovenance1", (3, "", "has no attestation")),
    "a missing signature": ("release attestation --type https", (3, "", "has no attestation")),
}


@pytest.mark.parametrize(("words", "ended"), STOPS.values(), ids=STOPS)
async def test_what_fails_on_the_way_moves_no_tag(
    engine: Engine, signed: dict[str, Any], words: str, ended: tuple[int, str, str]
) -> None:
    engine.programs[words] = ended
    if "judge" in words:
        assert chain(await settings(**signed).pipeline())[-1] == ("directory", {"path": "/artifacts"})
    else:
        with pytest.raises(RuntimeError):
            await settings(**signed).pipeline()
    assert moved(engine) == []
    assert words != "judge" or not engine.said("image import")


async def test_a_tag_that_does_not_name_it_stops_the_next(engine: Engine, signed: dict[str, Any]) -> None:
    engine.programs["image digest ghcr.io/me/name:main"] = (0, "sha256:" + "f" * 64, "")
    with pytest.raises(RuntimeError, match=r"ghcr.io/me/name:main names sha256:f"):
        await settings(**signed).pipeline()
    assert moved(engine) == ["model-0123abc", "0123abc", "main"]


async def test_what_is_there_already_is_not_attested_again(engine: Engine, signed: dict[str, Any]) -> None:
    engine.programs["release attestation"] = (0, "", "")
    await settings(**signed).pipeline()
    assert engine.said("cosign sign --") + engine.said("cosign attest") == []
    assert moved(engine)[-1] == "latest"


SILENT = {"oidc_request_url": "x", "oidc_request_token": "x", "identity": "^x$", "issuer": "i", "signing_key": None}


@pytest.mark.parametrize(
    ("words", "given", "publish", "named"),
    [
        ("blob put", {}, True, r"ghcr.io/me/name cannot be pushed to: no"),
        ("image digest", {}, False, r"ghcr.io/me/name: no"),
        ("release tags", {}, True, "^no$"),
        ("nothing", SILENT, True, "ACTIONS_ID_TOKEN_REQUEST_URL is empty"),
    ],
)
async def test_what_cannot_be_published_stops_before_any_training(
    engine: Engine, signed: dict[str, Any], words: str, given: dict[str, Any], publish: bool, named: str
) -> None:
    engine.programs[words] = (2, "", "no")
    engine.answers["plaintext"] = " \n"
    secrets = {name: dag.set_secret(name, " ") if value == "x" else value for name, value in given.items()}
    kws = settings(**{**signed, **secrets})
    for asked in (kws.pipeline(publish=publish), *([kws.publish(artifacts=marked("a"))] if publish else [])):
        with pytest.raises((RuntimeError, ValueError), match=named):
            await asked
    assert engine.said("model train") + engine.said("image import") == []


@pytest.mark.parametrize("words", ["not found [http 404]", "denied: requested access", "unauthorized [http 401]"])
async def test_the_first_release_has_none_before_it(engine: Engine, signed: dict[str, Any], words: str) -> None:
    engine.programs["image digest :latest"] = lambda _: (1, "", words) if not moved(engine) else (0, DIGEST, "")
    await settings(**signed).pipeline()
    judge = next(command for command in engine.ran if "judge" in command)
    assert judge[judge.index("--no-last") + 1] == "ghcr.io/me/name holds nothing under latest"
    assert moved(engine)[-1] == "latest"


async def test_the_last_release_is_read_from_its_verified_attestation(engine: Engine, signed: dict[str, Any]) -> None:
    engine.programs |= {"image digest :latest": (0, DIGEST, ""), "release attestation": (0, "", "")}
    result = await settings(**signed).pipeline(publish=False)
    assert engine.said("judge")[0].endswith("--last /last.json")
    assert ("withNewFile", "last.json") in [(name, args.get("path")) for name, args in everything(result)]
    engine.forget()
    assert "given" in marks(await settings(**signed).pipeline(publish=False, last_release=marked("given").file("x")))
    assert engine.said("cosign verify") == []
    await settings(**{**signed, "signing_key": None}, unsigned=True).pipeline(publish=False)
    assert engine.said("judge", "latest has no figures that verify: --public-key is missing")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"synthetic": True}, "--no-latest=not to be called latest: its voices are synthetic"),
        ({"profile": "quick"}, "--no-latest=not to be called latest: it was trained with the profile quick"),
        ({"signing_key": None}, "--cannot-sign"),
        ({"signing_key": None, "unsigned": True}, ""),
        ({}, ""),
    ],
)
async def test_a_toy_or_an_unsigned_image_is_not_latest(
    engine: Engine, signed: dict[str, Any], given: dict[str, Any], why: str
) -> None:
    await settings(**{**signed, **given}, branch="main", default_branch="trunk").pipeline(tags=["a"])
    command = next(command for command in engine.ran if "tags" in command)
    assert [part for part in command if part.startswith(("--no-latest", "--cannot"))] == [why][: bool(why)]
    assert {"--branch=main", "--default-branch=trunk", "--tag=a"} <= set(command)


async def test_publish_alone_takes_what_was_judged(engine: Engine, signed: dict[str, Any]) -> None:
    assert await settings(**signed).publish(artifacts=marked("artifacts")) == AT
    assert "python -m release verdict /artifacts --archive=/inference_image.tar" in engine.said()
    assert engine.said("install.py model") == []
    assert moved(engine)[-1] == "latest"
    engine.forget()
    engine.programs["release verdict"] = (3, "", "failed: the verdict is not about it")
    with pytest.raises(RuntimeError, match="not about it"):
        await settings(**signed).publish(artifacts=marked("artifacts"))
    assert engine.said("image import") == []


async def test_the_provenance_names_parameters_and_materials(engine: Engine, signed: dict[str, Any]) -> None:
    from kws_ci.containers import TOOLS

    engine.answers["glob"] = ["inference/platforms/linux-arm64/error.txt"]
    await settings(**signed, labels=["up", "no"], seed=3, package_index="https://pypi.mirror").pipeline()
    command = next(command for command in engine.ran if "provenance" in command)
    parameters = {"labels=up,no", "seed=3", "package-index=https://pypi.mirror"}
    assert {"--untested=linux/arm64", *(f"--parameter={each}" for each in parameters)} <= set(command)
    names = {part.split("=")[1] for part in command if part.startswith("--material")}
    assert names == {*TOOLS, "uv.lock", "gates.toml", "osv-scanner.toml"}
    assert not [part for part in command if "signing" in part or "private" in part]


def outside(command: list[str]) -> bool:
    """Whether a command asks a registry or the network."""
    return any("ghcr.io" in part for part in command[1:] if command[0] in ("regctl", "cosign")) or (
        "vulnerabilities" in command or "tools.doctor" in command
    )


async def test_what_asks_the_outside_is_asked_in_every_call(engine: Engine, signed: dict[str, Any]) -> None:
    runs: list[dict[str, set[str]]] = []
    for _ in range(2):
        engine.forget()
        await settings(**signed).pipeline()
        await settings(**signed).doctor()
        found: dict[str, set[str]] = {}
        for context in engine.asked:
            run = ""
            for name, args in chain(context):
                run = args["value"] if args.get("name") == "KWS_RUN" else run
                if name == "withExec" and outside(args["args"]):
                    found.setdefault(" ".join(args["args"]), set()).add(run)
        runs.append(found)
    assert len(runs[0]) > 12
    for command, values in runs[0].items():
        assert "" not in values, command
        assert not values & runs[1].get(command, set()), command


async def test_the_password_is_on_no_command_line_and_in_no_environment(engine: Engine, signed: dict[str, Any]) -> None:
    await settings(**signed, username="me", password=dag.set_secret("password", "hunter2")).pipeline()
    seen: set[int] = set()
    steps = [step for context in engine.asked for step in everything(context, seen)]
    shown = [args for name, args in steps if name in ("withExec", "withEnvVariable", "withNewFile")]
    assert not [args for args in shown if "hunter2" in str(args)]
    mounts = {args["path"] for name, args in steps if name == "withMountedSecret"}
    assert mounts == {"/run/docker/config.json", "/cosign/cosign.key"}


async def test_a_registry_of_the_caller_is_a_service_over_http(engine: Engine) -> None:
    service, key = dag.container().as_service(), dag.set_secret("key", "private")
    await settings(address="127.0.0.1:5000/me/name", registry=service, signing_key=key).pipeline()
    lines = [line for line in engine.said("5000") if line.startswith(("regctl", "cosign"))]
    assert all("registry:5000/me/name" in line and "127.0.0.1" not in line for line in lines)
    assert all("tls=disabled" in line or "--allow-http-registry" in line for line in lines)
    bound = [
        args["service"] for context in engine.asked for _, args in chain(context) if args.get("alias") == "registry"
    ]
    assert bound
    assert all(each is service for each in bound)


async def test_keyless_signing_gets_its_token_and_is_verified_by_identity(engine: Engine) -> None:
    pair = {name: dag.set_secret(name, name) for name in ("oidc_request_url", "oidc_request_token")}
    await settings(address="ghcr.io/me/name", **pair, identity="^https://x$", issuer="https://i").pipeline()
    assert engine.said("cosign sign --")[0] == f"cosign sign --yes --fulcio-auth-flow=token {AT}"
    identity = "--certificate-identity-regexp ^https://x$ --certificate-oidc-issuer https://i"
    assert engine.said("verify-attestation") == engine.said("verify-attestation", identity)


RELEASED = {"image digest": (0, DIGEST, ""), "release attestation": (0, "", "")}


async def test_promotion_and_rollback_move_tags_of_what_verifies(engine: Engine, signed: dict[str, Any]) -> None:
    engine.programs |= RELEASED
    releases = settings(**signed).releases()
    assert (await releases.verify("v1")).splitlines()[-1] == f"verified: {AT}"
    assert await releases.promote("v1", ["stable"]) == await releases.rollback(DIGEST) == AT
    assert moved(engine) == ["stable", "latest"]
    files = {args["path"] for name, args in chain(await releases.attestations("v1")) if name == "withFile"}
    assert files == {"slsa.json", "sbom.cdx.json", "gates.json"}


MISSING = (3, "", "none of the attestations matched")


@pytest.mark.parametrize(
    ("words", "ended", "given", "named"),
    [
        *((f"release attestation {kind}", MISSING, {}, f"not verified: .*{MISSING[2]}")
          for kind in ("https://sigstore.dev/cosign/sign/v1", "slsaprovenance1", "cyclonedx", "urn:kws")),
        ("release attestation", (0, "", ""), {"signing_key": None}, "not verified: signature: --public-key is missing"),
        ("image digest", (1, "", "not found"), {}, "ghcr.io/me/name holds nothing under v1"),
        ("image digest", (1, "", "connection refused"), {}, "ghcr.io/me/name: connection refused"),
    ],
)  # fmt: skip
async def test_what_is_no_whole_release_is_not_moved(
    engine: Engine, signed: dict[str, Any], words: str, ended: tuple[int, str, str], given: dict[str, Any], named: str
) -> None:
    engine.programs |= {words: ended, **{key: value for key, value in RELEASED.items() if key != words}}
    releases = settings(**{**signed, **given}).releases()
    for asked in (releases.verify("v1"), releases.promote("v1"), releases.rollback("v1"), releases.attestations("v1")):
        with pytest.raises(RuntimeError, match=named):
            await asked
    assert moved(engine) == []


def test_without_an_address_there_are_no_releases() -> None:
    with pytest.raises(ValueError, match="--address is missing"):
        settings().releases()
