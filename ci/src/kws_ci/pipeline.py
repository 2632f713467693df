"""The way of a model through the stages to a release."""

import json
from dataclasses import fields

import dagger
from dagger import dag

from . import checks
from .containers import ARTIFACTS, Toolbox
from .image import Builder, Image, Tester
from .publish import Release
from .settings import Settings
from .steps import ProgramError, UserError, gather, plain, span, stdout
from .train import QUICK, Trainer, options

# What is attested beside the signature, among the artefacts.
FILES = {"sbom.cdx.json": "image/sbom.cdx.json", "gates.json": "gates.json"}


async def run(
    kws: Settings, bounds: list[str] | None, last: dagger.File | None, publish: bool, tags: list[str] | None
) -> dagger.Directory:
    """Train, build, test, judge; publish, pull back, test again, judge again, sign, tag.

    What cannot be meant, and what the registry refuses, is named before any work.
    """
    trainer, builder, tester = Trainer(kws), Builder(kws), Tester(kws)
    release = Release(kws) if kws.address else None
    publishing = release if publish else None
    judge = checks.Judge(kws, bounds, last or "neither --address nor --last-release was given")
    await judge.check()
    await builder.platforms()
    names = await checked_tags(publishing, tags) if publishing else []
    if release and last is None:
        judge.last = await span("last release", release.last())

    # The other containers install while the model trains.
    others = (builder.packages(), tester.container(), Toolbox(kws).programs("syft"))
    model, *_ = await gather(span("train", trainer.trained()), *(each.sync() for each in others))
    artifacts = dag.directory().with_directory("model", model.folder)
    if model.onnx is None:
        return await judge.returned(judge.over(artifacts))

    image = await span("build", builder.image(model.onnx))
    clips = trainer.clips()
    inference, papers = await gather(
        span("test /predict", tester.inference(image, clips)),
        span("SBOM and scan", checks.papers(kws, image, model.folder)),
    )
    artifacts = artifacts.with_directory("inference", inference).with_directory("image", papers)
    judged = judge.over(artifacts)
    if await span("judge", judged.exit_code()) != 0 or publishing is None:
        return await judge.returned(judged)

    await span("push", publishing.push(image))
    pulled = await span("pull back", publishing.pulled(image.digest))
    published = await span("test what was pulled", tester.findings(pulled, clips))
    reference = f"{kws.address}@{image.digest}"
    told = [f"--published={reference}", *options(not_proven=why_not_latest(kws))]
    told += [] if publishing.party.signs else ["--not-proven=not signed: there is no key and no token"]
    judged = judge.over(artifacts.with_directory("inference/published", published), *told)
    if await span("judge again", judged.exit_code()) != 0:
        return await judge.returned(judged)
    found = judged.directory(ARTIFACTS)
    files = {name: found.file(path) for name, path in FILES.items()}
    untested = [path.split("/")[1].replace("-", "/") for path in await inference.glob("platforms/*/error.txt")]
    described = found.file("image/image.json")
    files["slsa.json"] = await provenance(kws, described, untested, {**files, "model.onnx": model.onnx})
    await sign_and_tag(publishing, image, model.onnx, files, names)
    return await found.with_file("image/slsa.json", files["slsa.json"]).sync()


async def publish(
    kws: Settings, artifacts: dagger.Directory | None, model: dagger.File | None, tags: list[str] | None
) -> str:
    """Publish the judged image of a run, or build one that nothing tested; that one becomes no ``latest``."""
    release = Release(kws)
    names = await checked_tags(release, tags, "" if artifacts else "it is published untested")
    if artifacts is None:
        onnx = await Trainer(kws).onnx(model)
        image = await Builder(kws).image(onnx)
        papers = checks.described(kws, image)
        files, untested = {"sbom.cdx.json": papers.file("sbom.cdx.json")}, image.platforms
    else:
        archive, onnx = artifacts.file("image/inference_image.tar"), artifacts.file("model/model.onnx")
        papers, untested = artifacts.directory("image"), []
        await checks.gates(kws, artifacts, archive)
        described = json.loads(await papers.file("image.json").contents())
        image = Image(archive, described["digest"], described["platforms"])
        files = {name: artifacts.file(path) for name, path in FILES.items()}
    await release.push(image)
    files["slsa.json"] = await provenance(kws, papers.file("image.json"), untested, files)
    await sign_and_tag(release, image, onnx, files, names)
    return f"{kws.address}@{image.digest}"


def why_not_latest(kws: Settings) -> str:
    """Why a model is a toy; empty of one that may be served to all."""
    toys = {"its voices are synthetic": kws.synthetic, f"it was trained with the profile {QUICK}": kws.profile == QUICK}
    return next((f"not to be called latest: {why}" for why, holds in toys.items() if holds), "")


async def checked_tags(release: Release, given: list[str] | None, untested: str = "") -> list[str]:
    """The tags of a release, ``latest`` last or not at all; the registry takes them, and who signs can.

    Raises UserError on what cannot be a tag.
    """
    kws = release.kws
    await release.party.check()
    told = options(revision=kws.revision, branch=kws.branch, version=kws.version, default_branch=kws.default_branch)
    told += options(no_latest=untested or why_not_latest(kws), cannot_sign=not release.party.signs and not kws.unsigned)
    command = ["tags", *told, *(f"--tag={tag}" for tag in given or [])]
    try:
        names = (await stdout(Toolbox(kws).release(command, {}))).split()
    except ProgramError as error:
        raise UserError(str(error)) from None
    await span("check the registry", release.check_push())
    return names


async def provenance(
    kws: Settings, described: dagger.File, untested: list[str], byproducts: dict[str, dagger.File]
) -> dagger.File:
    """SLSA v1's predicate: who built, from which commit, with which parameters and of what.

    ``described`` is the image.json, ``untested`` are the platforms that no machine here could run.
    """
    toolbox, command = Toolbox(kws), ["provenance", "/image.json", "--output=/slsa.json"]
    command += options(builder=kws.builder, invocation=kws.invocation)
    command += [f"--untested={platform}" for platform in untested]
    given = {field.name: getattr(kws, field.name) for field in fields(kws)}
    for name, value in given.items():
        if isinstance(value, str | int | list):
            command += [f"--parameter={option.removeprefix('--')}" for option in options(**{name: value})]
    for name, address in toolbox.images.items():
        found = await dag.container().from_(address).image_ref()
        command.append(f"--material={name}={found.rpartition('@')[2]}")
    files = {"/image.json": described}
    materials = {"uv.lock": kws.dependencies.file("uv.lock"), "gates.toml": kws.gates_file}
    materials["osv-scanner.toml"] = kws.exceptions
    for kind, named in (("material", materials), ("byproduct", byproducts)):
        files |= {f"/{kind}/{name}": file for name, file in named.items()}
        command += [f"--{kind}={name}=/{kind}/{name}" for name in named]
    return await plain(toolbox.release(command, files).file("/slsa.json").sync())


async def sign_and_tag(
    release: Release, image: Image, onnx: dagger.File, files: dict[str, dagger.File], tags: list[str]
) -> None:
    """Sign, attest, verify, and only then let tags name it; the model beside it, as ``model-`` and the first tag."""
    model = await span("push the model", release.push_model(onnx))
    if release.party.signs:
        await span("attest", release.attest(image.digest, files))
        await span("sign the model", release.attest(model, {}))
    await span("tag the model", release.tag(model, [f"model-{tags[0]}"]))
    await span("tag", release.tag(image.digest, tags))
