"""The road of a release: its order, what stops it, and that nothing on it is answered from a cache."""

from __future__ import annotations

from typing import Any

import pytest
from dagger import dag

from .conftest import DIGEST, MODEL_DIGEST, Engine, settings
from .graph import chain, commands, everything, marked, marks

pytestmark = pytest.mark.anyio
AT = f"ghcr.io/me/name@{DIGEST}"
STEPS = ["tags", "blob put", "image digest ghcr.io/me/name:latest", "model train", "image mod", "test_client", "judge",
         "image import", "image export ghcr.io", "--published", "provenance", "cosign sign --yes", "cosign attest",
         "image copy", ":latest"]  # fmt: skip


def said(engine: Engine) -> list[str]:
    return [" ".join(command) for command in engine.ran()]


def moved(engine: Engine) -> list[str]:
    """The tags that were moved, in order."""
    return [line.rpartition(":")[2] for line in said(engine) if "image copy" in line]


async def test_the_road_of_a_release(engine: Engine, signed: dict[str, Any]) -> None:
    await settings(**signed, revision="0123abc", branch="main").pipeline()
    lines = said(engine)
    found = [next(at for at, line in enumerate(lines) if step in line) for step in STEPS[:-1]]
    assert found == sorted(found)
    assert moved(engine) == ["model-0123abc", "0123abc", "main", "latest"]
    assert f"regctl image import {AT} /inference_image.tar" in lines
    assert [line.rpartition("@")[2] for line in lines if line.startswith("cosign sign --")] == [DIGEST, MODEL_DIGEST]
    assert [line.split("--type ")[1].split()[0] for line in lines if "cosign attest" in line] == [
        *("cyclonedx", "urn:kws:evaluation:v1", "slsaprovenance1")
    ]


async def test_what_is_pulled_back_is_tested_and_judged(engine: Engine, signed: dict[str, Any]) -> None:
    result = await settings(**signed).pipeline()
    published = [args["source"] for name, args in everything(result) if args.get("path") == "inference/published"]
    assert [c for c in commands(published[0]) if f"regctl image export {AT} /inference_image.tar" == " ".join(c)]
    assert f"--published={AT}" in next(
        c for c in commands(result) if "judge" in c and any("--published" in p for p in c)
    )


async def test_without_an_address_nothing_is_published(engine: Engine) -> None:
    await settings().pipeline()
    assert not [line for line in said(engine) if "cosign" in line or "regctl image import" in line]


STOPS = {
    "a gate": {"judge": (3, "", "failed: test accuracy")},
    "the gates of what was pulled": {"judge --published": (3, "", "failed: /predict accuracy")},
    "the push": {"image import": (1, "", "manifest digest mismatch")},
    "the pull": {"image export ghcr.io": (1, "", "not found")},
    "the signature": {"cosign sign": (1, "", "no key")},
    "an attestation": {"cosign attest --type cyclonedx": (1, "", "refused")},
    "one that does not verify": {"release attestation --type slsaprovenance1": (3, "", "has no attestation")},
    "a missing signature": {"release attestation --type https": (3, "", "has no attestation")},
}


@pytest.mark.parametrize("programs", STOPS.values(), ids=STOPS)
async def test_what_fails_on_the_way_moves_no_tag(
    engine: Engine, signed: dict[str, Any], programs: dict[str, Any]
) -> None:
    engine.programs |= programs
    judged = "judge" in next(iter(programs))
    if judged:
        result = await settings(**signed).pipeline()
        assert chain(result)[-1] == ("directory", {"path": "/artifacts"})
    else:
        with pytest.raises(RuntimeError):
            await settings(**signed).pipeline()
    assert moved(engine) == []
    if list(programs) == ["judge"]:
        assert not [line for line in said(engine) if "image import" in line]


async def test_a_tag_that_does_not_name_it_stops_the_next(engine: Engine, signed: dict[str, Any]) -> None:
    engine.programs["image digest ghcr.io/me/name:main"] = (0, "sha256:" + "f" * 64, "")
    with pytest.raises(RuntimeError, match=r"ghcr.io/me/name:main names sha256:f"):
        await settings(**signed).pipeline()
    assert moved(engine) == ["model-0123abc", "0123abc", "main"]


async def test_what_is_there_already_is_not_attested_again(engine: Engine, signed: dict[str, Any]) -> None:
    engine.programs["release attestation"] = (0, "", "")
    await settings(**signed).pipeline()
    assert not [line for line in said(engine) if line.startswith(("cosign sign --", "cosign attest"))]
    assert moved(engine)[-1] == "latest"


@pytest.mark.parametrize("publish", [True, False])
async def test_a_registry_that_refuses_stops_before_any_training(
    engine: Engine, signed: dict[str, Any], publish: bool
) -> None:
    words = "blob put" if publish else "image digest"
    engine.programs[words] = (1, "", "failed: connection refused")
    with pytest.raises(RuntimeError, match=r"ghcr.io/me/name.*connection refused"):
        await settings(**signed).pipeline(publish=publish)
    assert not [line for line in said(engine) if "model train" in line]


@pytest.mark.parametrize("words", ["not found [http 404]", "denied: requested access", "unauthorized [http 401]"])
async def test_the_first_release_has_none_before_it(engine: Engine, signed: dict[str, Any], words: str) -> None:
    engine.programs["image digest :latest"] = lambda _: (1, "", words) if not moved(engine) else (0, DIGEST, "")
    await settings(**signed).pipeline()
    judge = next(command for command in engine.ran() if "judge" in command)
    assert judge[judge.index("--no-last") + 1] == "ghcr.io/me/name holds nothing under latest"
    assert moved(engine)[-1] == "latest"


async def test_the_last_release_is_read_from_its_verified_attestation(engine: Engine, signed: dict[str, Any]) -> None:
    engine.programs |= {"image digest :latest": (0, DIGEST, ""), "release attestation": (0, "", "")}
    result = await settings(**signed).pipeline(publish=False)
    judge = next(command for command in commands(result) if "judge" in command)
    assert judge[-2:] == ["--last", "/last.json"]
    assert "last.json" in marks(result)
    engine.forget()
    given = await settings(**signed).pipeline(publish=False, last_release=marked("given").file("gates.json"))
    assert "given" in marks(given)
    assert not [line for line in said(engine) if "cosign verify" in line]


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
    command = next(command for command in engine.ran() if "tags" in command)
    assert [part for part in command if part.startswith(("--no-latest", "--cannot"))] == [why][: bool(why)]
    assert {"--branch=main", "--default-branch=trunk", "--tag=a"} <= set(command)


async def test_a_tag_that_cannot_be_is_named_before_any_work(engine: Engine, signed: dict[str, Any]) -> None:
    engine.programs["release tags"] = (2, "", "release: --branch latest would take the tag of another\n")
    for function in (settings(**signed).pipeline, settings(**signed).publish):
        with pytest.raises(ValueError, match="--branch latest would take"):
            await function()
    assert not [line for line in said(engine) if "train" in line or "blob put" in line]


async def test_publish_alone_is_untested_unless_it_gets_a_verdict(engine: Engine, signed: dict[str, Any]) -> None:
    await settings(**signed).publish(model=marked("m").file("m"))
    assert "--no-latest=it is published untested" in next(command for command in engine.ran() if "tags" in command)
    assert "--untested=linux/amd64" in next(command for command in engine.ran() if "provenance" in command)
    engine.forget()
    await settings(**signed).publish(artifacts=marked("artifacts"))
    lines = said(engine)
    assert "python -m release verdict /artifacts --archive /inference_image.tar" in lines
    assert not [line for line in lines if "--no-latest" in line or "--untested" in line or "install.py model" in line]
    engine.programs["release verdict"] = (3, "", "failed: the verdict is not about it")
    engine.forget()
    with pytest.raises(RuntimeError, match="not about it"):
        await settings(**signed).publish(artifacts=marked("artifacts"))
    assert not [line for line in said(engine) if "image import" in line]


async def test_the_provenance_names_parameters_and_materials(engine: Engine, signed: dict[str, Any]) -> None:
    kws = settings(
        **signed, labels=["up", "no"], seed=3, package_index="https://pypi.mirror", platforms=["linux/amd64"]
    )
    await kws.pipeline()
    command = next(command for command in engine.ran() if "provenance" in command)
    assert {"--parameter=labels=up,no", "--parameter=seed=3", "--parameter=package-index=https://pypi.mirror"} <= set(
        command
    )
    names = {part.split("=")[1] for part in command if part.startswith("--material")}
    assert names == {
        "regctl",
        "syft",
        "osv-scanner",
        "cosign",
        "actionlint",
        "uv.lock",
        "gates.toml",
        "osv-scanner.toml",
    }
    assert not [part for part in command if "signing" in part or "private" in part]


def outside(command: list[str]) -> bool:
    """Whether a command asks a registry or the network."""
    return any("ghcr.io" in part for part in command[1:] if command[0] in ("regctl", "cosign")) or (
        "vulnerabilities" in command or "tools.doctor" in command
    )


async def test_what_asks_the_outside_is_asked_in_every_call(engine: Engine, signed: dict[str, Any]) -> None:
    kws = settings(**signed)
    runs: list[dict[str, set[str]]] = []
    for _ in range(2):
        engine.forget()
        engine.files |= {"dagger.json": '{"engineVersion": "v0.21.8"}'}
        await kws.pipeline()
        await kws.doctor()
        found: dict[str, set[str]] = {}
        for _, context in engine.asked:
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
    secret = dag.set_secret("password", "hunter2")
    await settings(**signed, username="me", password=secret).pipeline()
    for _, context in engine.asked:
        for name, args in everything(context):
            if name in ("withExec", "withEnvVariable", "withNewFile"):
                assert "hunter2" not in str(args)
        mounts = {args["path"] for name, args in everything(context) if name == "withMountedSecret"}
        assert mounts <= {"/run/docker/config.json", "/cosign/cosign.key"}


async def test_a_registry_of_the_caller_is_a_service_over_http(engine: Engine) -> None:
    service = dag.container().as_service()
    key = dag.set_secret("key", "private")
    await settings(address="127.0.0.1:5000/me/name", registry=service, signing_key=key).pipeline()
    lines = [line for line in said(engine) if line.startswith(("regctl", "cosign")) and "5000" in line]
    assert all("registry:5000/me/name" in line and "127.0.0.1" not in line for line in lines)
    assert all(("tls=disabled" in line) or ("--allow-http-registry" in line) for line in lines)
    pushed = engine.with_command("image import")[0]
    assert [args["service"] for name, args in chain(pushed) if name == "withServiceBinding"] == [service]


KEY = "given"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"address": "https://ghcr.io/me/name"}, "--address"),
        ({"address": "ghcr.io/Me/Name"}, "--address"),
        ({"address": "ghcr.io/me/name:latest"}, "--address"),
        ({"address": "me/name"}, "--address"),
        ({"address": "127.0.0.1:5000/me/name"}, "--registry=tcp://127.0.0.1:5000"),
        ({"address": "ghcr.io/me/name", "username": "me"}, "--password"),
        ({"signing_key": KEY, "oidc_request_url": KEY}, "exclude each other"),
        ({"oidc_request_url": KEY, "identity": "^x$", "issuer": "https://i"}, "--oidc-request-token is empty"),
        ({"oidc_request_url": KEY, "oidc_request_token": KEY}, "--identity and --issuer are missing"),
        ({"identity": "^x$"}, "--identity and --issuer go together"),
    ],
)
async def test_arguments_that_cannot_work_are_named_before_any_work(
    engine: Engine, given: dict[str, Any], named: str
) -> None:
    secrets = {name: dag.set_secret(name, "x") if value is KEY else value for name, value in given.items()}
    for function in ("pipeline", "publish"):
        with pytest.raises(ValueError, match=named):
            await getattr(settings(**{"address": "ghcr.io/me/name", **secrets}), function)()
    assert not [line for line in said(engine) if "train" in line or "regctl" in line]


async def test_keyless_signing_gets_its_token_and_is_verified_by_identity(engine: Engine) -> None:
    pair = {name: dag.set_secret(name, name) for name in ("oidc_request_url", "oidc_request_token")}
    await settings(address="ghcr.io/me/name", **pair, identity="^https://x$", issuer="https://i").pipeline()
    signed = next(command for command in engine.ran() if command[:2] == ["cosign", "sign"])
    assert signed == ["cosign", "sign", "--yes", "--fulcio-auth-flow=token", AT]
    verified = next(command for command in engine.ran() if "verify-attestation" in command)
    wanted = {"--certificate-identity-regexp", "^https://x$", "--certificate-oidc-issuer", "https://i"}
    assert wanted <= set(verified)


RELEASED = {"image digest": (0, DIGEST, ""), "release attestation": (0, "", "")}


async def test_promotion_and_rollback_move_tags_of_what_verifies(engine: Engine, signed: dict[str, Any]) -> None:
    engine.programs |= RELEASED
    releases = settings(**signed).releases()
    assert (await releases.verify("v1")).splitlines()[-1] == f"verified: {AT}"
    assert await releases.promote("v1", ["stable"]) == await releases.rollback(DIGEST) == AT
    assert moved(engine) == ["stable", "latest"]
    assert {args["path"] for name, args in chain(await releases.attestations("v1")) if name == "withFile"} == {
        *("slsa.json", "sbom.cdx.json", "gates.json")
    }


@pytest.mark.parametrize("kind", ["https://sigstore.dev/cosign/sign/v1", "slsaprovenance1", "cyclonedx", "urn:kws"])
async def test_a_release_that_lacks_one_type_does_not_verify(engine: Engine, signed: dict[str, Any], kind: str) -> None:
    engine.programs |= {f"release attestation {kind}": (3, "", "none of the attestations matched"), **RELEASED}
    releases = settings(**signed).releases()
    for asked in (releases.verify("v1"), releases.promote("v1"), releases.rollback("v1"), releases.attestations("v1")):
        with pytest.raises(RuntimeError, match=r"not verified: .*none of the attestations matched"):
            await asked
    assert moved(engine) == []


@pytest.mark.parametrize(
    ("given", "reference", "named"),
    [
        ({}, "a b", "--reference 'a b' is neither a tag nor a digest"),
        ({"signing_key": None}, "v1", "--public-key is missing"),
    ],
)
async def test_releases_say_what_is_wrong(
    engine: Engine, signed: dict[str, Any], given: dict[str, Any], reference: str, named: str
) -> None:
    engine.programs |= RELEASED
    with pytest.raises(ValueError, match=named):
        await settings(**{**signed, **given}).releases().promote(reference)
    assert moved(engine) == []
