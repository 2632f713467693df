"""The way of a model through the stages to a release."""

import json
from dataclasses import fields

import dagger
from dagger import dag

from . import checks, train
from . import image as images
from .containers import Toolbox
from .image import Image
from .publish import Releases
from .settings import options
from .steps import BAD_INPUT, ProgramError, UserError, gather, plain, span, stdout

MODEL = "model/model.onnx"
# What is attested beside the signature, among the artefacts.
FILES = {"sbom.cdx.json": "image/sbom.cdx.json", "gates.json": "gates.json"}


async def run(
    kws: Toolbox, bounds: list[str] | None, last: dagger.File | None, publish: bool, tags: list[str] | None
) -> dagger.Directory:
    """The whole way; bad arguments, and what the registry refuses, are named before any work."""
    release = Releases(settings=kws) if kws.address else None  # type: ignore[call-arg]
    publishing = release if publish else None
    judge = checks.Judge(kws, bounds, last or "neither --address nor --last-release was given")
    await judge.check()
    await images.platforms(kws)
    names = await checked_tags(publishing, tags) if publishing else []
    if release and last is None:
        judge.last = await span("last release", release.last())

    # The other containers install while the model trains.
    others = (images.packages(kws), kws.installed("probe"), kws.programs("syft"))
    model, *_ = await gather(span("train", train.train(kws)), *(each.sync() for each in others))
    artifacts = dag.directory().with_directory("model", model.folder)
    if model.error and model.code != BAD_INPUT:
        return (await judge.over(artifacts))[1]

    image = await span("build", images.build(kws, model.held().file("model.onnx")))
    clips = train.clips(kws)
    papers = checks.described(kws, image, model.folder).with_file("inference_image.tar", image.archive)
    inference, found = await gather(
        span("test /predict", images.inference(kws, image, clips)),
        span("SBOM and scan", checks.scan(kws, papers.file("sbom.cdx.json"))),
    )
    papers = papers.with_file("osv.json", found.file)
    artifacts = artifacts.with_directory("inference", inference).with_directory("image", papers)
    failed, judged = await span("judge", judge.over(artifacts))
    if failed or publishing is None:
        return judged

    await span("push", publishing.push(image))
    pulled = await span("pull back", publishing.pulled(image.digest))
    published = await span("test what was pulled", images.findings(kws, pulled, clips))
    told = [f"--published={kws.address}@{image.digest}", *options(not_proven=kws.toy)]
    told += [] if publishing.signs else ["--not-proven=not signed: there is no key and no token"]
    artifacts = artifacts.with_directory("inference/published", published)
    failed, judged = await span("judge again", judge.over(artifacts, *told))
    return judged if failed else await finish(publishing, image, judged, names)


async def publish(
    kws: Toolbox, artifacts: dagger.Directory, clips: dagger.Directory | None, tags: list[str] | None
) -> str:
    """Publish the image of a run whose gates held; the verdict must be about this very archive."""
    release = Releases(settings=kws)  # type: ignore[call-arg]
    names = await checked_tags(release, tags)
    archive = artifacts.file("image/inference_image.tar")
    (await checks.verdict(kws, artifacts, archive)).held()
    described = json.loads(await artifacts.file("image/image.json").contents())
    image = Image(archive, described["digest"], described["platforms"])
    await release.push(image)
    await checks.answers(kws, await release.pulled(image.digest), clips or train.clips(kws), None)
    await finish(release, image, artifacts, names)
    return f"{kws.address}@{image.digest}"


async def checked_tags(release: Releases, given: list[str] | None) -> list[str]:
    """The tags of a release, ``latest`` last or not at all. Raises UserError where it could not be pushed or signed."""
    kws = release.settings
    told = options(revision=kws.revision, branch=kws.branch, version=kws.version, default_branch=kws.default_branch)
    told += options(no_latest=kws.toy, cannot_sign=not release.signs and not kws.unsigned)
    try:
        names = await stdout(kws.release(["tags", *told, *(f"--tag={tag}" for tag in given or [])], {}))
    except ProgramError as error:
        raise UserError(str(error)) from None
    await span("check the registry", release.check())
    return names.split()


async def provenance(kws: Toolbox, artifacts: dagger.Directory) -> dagger.File:
    """SLSA v1's predicate about a run's image: who built it, from which commit, with which parameters and of what."""
    command = ["provenance", "/image.json", "--output=/slsa.json"]
    for path in await artifacts.glob("inference/platforms/*/error.txt"):
        command.append(f"--untested={path.split('/')[2].replace('-', '/')}")
    command += options(builder=kws.builder, invocation=kws.invocation)
    given = {each.name: value for each in fields(kws) if isinstance(value := getattr(kws, each.name), str | int | list)}
    given |= {name: "true" for name, value in given.items() if value is True}
    command += [f"--parameter={option.removeprefix('--')}" for option in options(**given)]
    for name, address in kws.images.items():
        if name == "actionlint":  # which judges the workflow alone
            continue
        found = address if "@" in address else await dag.container().from_(address).image_ref()
        command.append(f"--material={name}={found.rpartition('@')[2]}")
    files = {"/image.json": artifacts.file("image/image.json")}
    materials = {"gates.toml": kws.gates_file, "osv-scanner.toml": kws.exceptions}
    materials["uv.lock"] = kws.dependencies.file("uv.lock")
    files |= {f"/material/{name}": file for name, file in materials.items()}
    command += [f"--material={name}=/material/{name}" for name in materials]
    return await plain(kws.release(command, files).file("/slsa.json").sync())


async def finish(release: Releases, image: Image, artifacts: dagger.Directory, tags: list[str]) -> dagger.Directory:
    """Sign, attest, verify, and only then let tags name it; the model beside it, as ``model-`` and the first tag."""
    files = {name: artifacts.file(path) for name, path in FILES.items()}
    files["slsa.json"] = await provenance(release.settings, artifacts)
    model = await span("push the model", release.push_model(artifacts.file(MODEL)))
    if release.signs:
        await span("attest", release.attest(image.digest, files))
        await span("sign the model", release.attest(model, {}))
    await span("tag the model", release.tag(model, [f"model-{tags[0]}"]))
    await span("tag", release.tag(image.digest, tags))
    return await artifacts.with_file("image/slsa.json", files["slsa.json"]).sync()
