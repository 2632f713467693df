"""The road of a release: its order, what stops it, and that nothing on it is answered from a cache."""

from typing import Any

import pytest
from dagger import dag

from .conftest import AT, DIGEST, MODEL_DIGEST, Ended, Engine, Given, settings
from .graph import chain, commands, everything, marked

pytestmark = pytest.mark.anyio
RELEASED = {"image digest": (0, DIGEST, ""), "verify-attestation": (0, "", "")}
STEPS = ["release tags", "blob put", "image digest ghcr.io/me/name:latest", "model train", "image mod", "test_client"]
STEPS += ["judge", "image import", "image export ghcr.io", "--published", "provenance", "cosign sign --yes"]
STEPS += ["cosign attest", "image copy"]


def moved(engine: Engine) -> list[str]:
    """The tags that were moved, in order."""
    return [line.rpartition(":")[2] for line in engine.said("image copy")]


async def test_the_road_of_a_release(engine: Engine, signed: Given) -> None:
    """REVIEW 5: what is tested is what is pushed, and tags move last."""
    result = await settings(**signed).pipeline(bounds=["max_p95_ms=7"])
    assert len(engine.said("--bound=max_p95_ms=7")) == len(engine.said("judge")) + len(engine.said("bounds")) == 3
    found = [next(at for at, line in enumerate(engine.said()) if step in line) for step in STEPS]
    assert found == sorted(found)
    assert moved(engine) == ["model-0123abc", "0123abc", "main", "latest"]
    assert engine.said(f"regctl image import {AT} /inference_image.tar")
    assert [line.rpartition("@")[2] for line in engine.said("cosign sign --")] == [DIGEST, MODEL_DIGEST]
    types = [line.split("--type ")[1].split()[0] for line in engine.said("cosign attest")]
    assert types == ["cyclonedx", "urn:kws:evaluation:v1", "slsaprovenance1"]
    published = [args["source"] for _, args in everything(result) if args.get("path") == "inference/published"]
    assert ["regctl", "image", "export", AT, "/inference_image.tar"] in commands(published[0])
    assert engine.said("judge", f"--published={AT}")
    engine.forget()
    await settings().pipeline()
    assert engine.said("cosign") + engine.said("regctl image import") == []


OTHER = (0, "sha256:" + "f" * 64, "")
FAILED = (3, "", "failed: a gate")
REFUSED = (1, "", "refused")
# What fails, how, and the tags that have moved by then.
STOPS: list[tuple[str, Ended, list[str]]] = [
    ("judge", FAILED, []),
    ("judge --published", FAILED, []),
    ("image import", REFUSED, []),
    ("image export ghcr.io", REFUSED, []),
    ("cosign sign", REFUSED, []),
    ("cosign attest --type cyclonedx", REFUSED, []),
    ("verify-attestation slsaprovenance1", REFUSED, []),
    ("verify-attestation --type https", REFUSED, []),
    ("release attestation", (3, "", "it is of another image"), []),
    ("image digest ghcr.io/me/name:main", OTHER, ["model-0123abc", "0123abc", "main"]),
]


@pytest.mark.parametrize(("words", "ended", "tags"), STOPS)
async def test_a_failure_moves_no_tag(engine: Engine, signed: Given, words: str, ended: Ended, tags: list[str]) -> None:
    engine.programs[words] = ended
    if "judge" in words:
        assert chain(await settings(**signed).pipeline())[-1] == ("directory", {"path": "/artifacts"})
    else:
        with pytest.raises(RuntimeError, match=f"name:main names {OTHER[1]}" if ended is OTHER else None):
            await settings(**signed).pipeline()
    assert moved(engine) == tags
    assert words != "judge" or not engine.said("image import")


async def test_the_last_release_is_read_from_its_verified_attestation(engine: Engine, signed: Given) -> None:
    async def told(words: str = "", **given: Any) -> list[str]:
        engine.forget()
        engine.programs = {"image digest :latest": (1, "", words)} if words else {**RELEASED}
        await settings(**{**signed, **given}).pipeline(publish=False)
        return engine.said("judge")

    for words in ("not found [http 404]", "denied: requested access", "unauthorized [http 401]"):  # REVIEW 38
        assert "--no-last ghcr.io/me/name holds nothing under latest" in (await told(words))[0]
    assert (await told())[0].endswith("--last /last.json")
    assert engine.said("verify-attestation", "--type urn:kws:evaluation:v1")
    assert "latest has no figures that verify: --public-key" in (await told(signing_key=None, unsigned=True))[0]


TOYS: dict[str, Given] = {
    "--no-latest=not to be called latest: its voices are synthetic": {"synthetic": True},
    "--no-latest=not to be called latest: it was trained with the profile quick": {"profile": "quick"},
    "--cannot-sign": {"signing_key": None},
    "": {"signing_key": None, "unsigned": True},
}


async def test_a_toy_is_not_latest(engine: Engine, signed: Given) -> None:
    """REVIEW 36."""
    for why, given in TOYS.items():
        engine.forget()
        kws = settings(**{**signed, **given}, branch="main", default_branch="trunk")
        await kws.publish(artifacts=marked("a"), tags=["a"])
        (tags,) = [command[4:] for command in engine.ran if command[3:4] == ["tags"]]
        assert tags == ["--branch=main", "--default-branch=trunk", *filter(None, [why]), "--tag=a"]


async def test_the_provenance_names_parameters_and_materials(engine: Engine, signed: Given) -> None:
    """REVIEW 39, 40."""
    engine.answers["glob"] = ["inference/platforms/linux-arm64/error.txt"]
    given = {"labels": ["up", "no"], "seed": 3, "package_index": "https://pypi.mirror", "unsigned": True}
    await settings(**signed, **given).pipeline()
    command = next(command for command in engine.ran if "provenance" in command)
    parameters = {"labels=up,no", "seed=3", "package-index=https://pypi.mirror", "unsigned=true"}
    assert {"--untested=linux/arm64", *(f"--parameter={each}" for each in parameters)} <= set(command)
    names = {part.split("=")[1] for part in command if part.startswith("--material")}
    assert names == {"cosign", "osv-scanner", "syft", "regctl", "uv.lock", "gates.toml", "osv-scanner.toml"}
    assert not [part for part in command if "signing" in part or "private" in part or "gates.json" in part]


async def test_what_asks_the_outside_is_asked_in_every_call(engine: Engine, signed: Given) -> None:
    """REVIEW 12, 22."""
    runs: list[set[str]] = []
    for _ in range(2):
        engine.forget()
        await settings(**signed).pipeline()
        await settings(**signed).doctor()
        found = set()
        for context in engine.asked:
            run = ""
            for name, args in chain(context):
                run = args["value"] if args.get("name") == "KWS_RUN" else run
                command = " ".join(args["args"]) if name == "withExec" else ""
                outside = "ghcr.io" in command and command.startswith(("regctl", "cosign"))
                if outside or "release vulnerabilities" in command or "tools.doctor" in command:
                    assert run, command
                    found.add(run)
        runs.append(found)
    assert len(runs[0]) > 12
    assert not runs[0] & runs[1]


@pytest.mark.parametrize("gitlab", [False, True])
async def test_keyless_signing_gets_its_token_and_is_verified_by_identity(engine: Engine, gitlab: bool) -> None:
    names = ["id_token"] if gitlab else ["oidc_request_url", "oidc_request_token"]
    tokens = {name: dag.set_secret(name, name) for name in names}
    kws = settings(address="ghcr.io/me/name", identity="^https://x$", issuer="https://i", **tokens)
    engine.answers["plaintext"] = " \n"
    with pytest.raises(ValueError, match=r"SIGSTORE_ID_TOKEN|ACTIONS_ID_TOKEN_REQUEST_URL is empty"):
        await kws.pipeline()
    assert engine.said("model train") == []
    engine.answers["plaintext"] = "a token"
    await kws.pipeline()
    named = {args["name"] for name, args in engine.steps() if name == "withSecretVariable"}
    both = {"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"}
    assert named == ({"SIGSTORE_ID_TOKEN"} if gitlab else both)
    assert engine.said("cosign sign --")[0] == f"cosign sign --yes --fulcio-auth-flow=token {AT}"
    identity = "--certificate-identity-regexp ^https://x$ --certificate-oidc-issuer https://i"
    assert engine.said("verify-attestation") == engine.said("verify-attestation", identity)


BROKEN = {
    "verify-attestation https://": "not verified: signature.*: not found",
    "verify-attestation slsa": "not verified: slsa.*: not found",
    "verify-attestation cyclonedx": "not verified: sbom.*: not found",
    "verify-attestation urn:kws": "not verified: gates.*: not found",
    "image digest :v1": "ghcr.io/me/name holds nothing under v1",
}


@pytest.mark.parametrize("words", BROKEN)
async def test_what_is_no_whole_release_is_not_moved(engine: Engine, signed: Given, words: str) -> None:
    engine.programs |= {words: (3, "", "not found"), **RELEASED}
    releases = settings(**signed).releases()
    for ask in (releases.verify, releases.attestations, releases.promote, releases.rollback):
        with pytest.raises(RuntimeError, match=BROKEN[words]):
            await ask("v1")
    assert moved(engine) == []
