"""Image: the archive that is tested, scanned, judged and published, each time the same bytes."""

import json
from dataclasses import dataclass
from typing import Any

import dagger
from dagger import ImageLayerCompression, dag

from .containers import APP, ARTIFACTS, VENV, Toolbox
from .steps import UserError, settled, stdout

PORT = 8000
ENTRYPOINT, HEALTHCHECK = ["python", "-m", "service"], ["python", "-m", "service.healthcheck"]
LAYERS = 3  # over the base image, bottom first: dependencies, code, model; a retraining changes the last alone
PLATFORMS = ("linux/amd64", "linux/arm64")
INFERENCE = f"{ARTIFACTS}/inference"
ARCHIVE = "/inference_image.tar"


@dataclass(frozen=True)
class Image:
    """An image as one archive; the digest is its index's where it has several platforms, the engine's own first."""

    archive: dagger.File
    digest: str
    platforms: list[str]

    def loaded(self, platform: str = "") -> dagger.Container:
        """The image out of the archive, as it will be pulled."""
        return dag.container(platform=dagger.Platform(platform) if platform else None).import_(self.archive)


async def platforms(kws: Toolbox) -> list[str]:
    """The image's platforms, the engine's own first. Raises UserError on what cannot be built, or not be tested."""
    own, wanted = await dag.default_platform(), kws.platforms or []
    if wanted and (own not in wanted or {*wanted} - {own, *PLATFORMS}):
        raise UserError(f"--platforms: choose of {', '.join(PLATFORMS)}, and {own}, the engine's own, which is tested")
    return list(dict.fromkeys([own, *wanted]))


def packages(kws: Toolbox, platform: str = "") -> dagger.Directory:
    """The virtual environment that answers requests, without what inference never touches."""
    installed = kws.installed("service", bytecode=True, platform=platform)
    return installed.with_exec(["python", "tools/trim.py", VENV]).directory(VENV)


def container(kws: Toolbox, onnx: dagger.File, platform: str = "") -> dagger.Container:
    """What answers requests, in layers from the one that changes least. Nothing of a foreign platform is run."""
    code = dag.directory().with_directory("kws", kws.kws_source).with_directory("service", kws.service_source)
    return (
        kws.base(platform)
        .with_env_variable("PYTHONUNBUFFERED", "1")
        .with_env_variable("PATH", f"{VENV}/bin:$PATH", expand=True)
        .with_env_variable("KWS_MODEL", f"{APP}/model.onnx")
        .with_env_variable("KWS_HOST", "*")  # of both address families
        .with_env_variable("KWS_PORT", str(PORT))
        .with_workdir(APP)
        .with_directory(VENV, packages(kws, platform))
        .with_directory(APP, code)
        .with_file(f"{APP}/model.onnx", onnx, permissions=0o444)
        .with_user("10001:10001")  # numeric: Kubernetes' runAsNonRoot can be checked without a passwd entry
        .with_exposed_port(PORT)
        .with_docker_healthcheck(HEALTHCHECK, interval="10s", timeout="3s", start_period="20s", start_interval="1s")
        .with_entrypoint(ENTRYPOINT)
        .with_default_args([])
    )


async def labels(kws: Toolbox, onnx: dagger.File) -> dict[str, str]:
    """Where source, base, model and data come from, as far as it is known, so that a registry can be asked."""
    reader = kws.installed("service", bytecode=True).with_directory(f"{APP}/kws", kws.kws_source)
    reader = reader.with_mounted_file("/model.onnx", onnx)
    model = json.loads(await stdout(reader.with_exec(["python", "-m", "kws", "/model.onnx"])))
    oci = {
        "description": "Audio keyword classifier: POST a recording to /predict",
        "licenses": "MIT",
        "source": kws.repository,
        "revision": kws.revision,
        "version": kws.version,
        "base.name": kws.base_image,
        "base.digest": (await kws.base().image_ref()).rpartition("@")[2],
    }
    found = {f"org.opencontainers.image.{name}": value for name, value in oci.items()}
    found |= {"kws.model.digest": f"sha256:{model['sha256']}", "kws.model.version": model["version"]}
    return {name: value for name, value in {**found, "kws.data.digest": model["data_digest"]}.items() if value}


async def build(kws: Toolbox, onnx: dagger.File) -> Image:
    """The archive. Its digest is equal for equal content, though the engine writes the build's time into it."""
    named, told, variants = await platforms(kws), await labels(kws, onnx), []
    for platform in ("", *named[1:]):
        variant = container(kws, onnx, platform)
        for name, value in told.items():
            variant = variant.with_label(name, value)
        variants.append(variant)
    packed = variants[0].as_tarball(platform_variants=variants[1:], forced_compression=ImageLayerCompression.Gzip)
    layout = (
        kws.with_tools(kws.base(), "regctl")
        .with_mounted_file("/engine.tar", packed)
        .with_new_file("/oci/oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}))
        .with_exec(["tar", "--extract", "--file=/engine.tar", "--directory=/oci"])
    )

    async def read(path: str) -> Any:
        return json.loads(await layout.file(f"/oci/{path}").contents())

    (found,) = (await read("index.json"))["manifests"]
    manifest = found
    while "layers" not in (manifest := await read(f"blobs/{manifest['digest'].replace(':', '/')}")):
        manifest = manifest["manifests"][0]
    # The base image's layers stay as they are: those that a registry has already are not pushed again.
    time = f"set={kws.moment},base-layers={len(manifest['layers']) - LAYERS}"
    source, sealed = f"ocidir:///oci@{found['digest']}", "ocidir:///oci:sealed"
    run = layout.with_exec(["regctl", "image", "mod", source, "--create=sealed", "--time", time])
    run = run.with_exec(["regctl", "image", "export", sealed, ARCHIVE])
    digest = await stdout(run.with_exec(["regctl", "image", "digest", sealed]))
    return Image(run.file(ARCHIVE), digest, named)


def bound(kws: Toolbox, image: dagger.Container, clips: dagger.Directory) -> dagger.Container:
    """The test client with recordings in /clips and ``image``, started as its users do, as http://api:8000."""
    # A line a request would bury what matters in the pipeline's own log.
    service = image.with_env_variable("KWS_ACCESS_LOG", "false").as_service(use_entrypoint=True)
    stage = kws.stage("probe", kws=kws.kws_source, service=kws.service_source).with_mounted_directory("/clips", clips)
    return stage.with_directory(INFERENCE, dag.directory()).with_service_binding("api", service)


async def findings(kws: Toolbox, image: dagger.Container, clips: dagger.Directory) -> dagger.Directory:
    """response.json and inference_metrics.json; where the service did not start, error.txt: the engine's words."""
    command = ["python", "-m", "service.test_client", f"http://api:{PORT}", "--clips", "/clips"]
    try:
        tested = await settled(bound(kws, image, clips), [*command, "--output", INFERENCE])
        return await tested.directory(INFERENCE).sync()
    except dagger.QueryError as error:
        return dag.directory().with_new_file("error.txt", f"{error}\n")


async def inference(kws: Toolbox, image: Image, clips: dagger.Directory) -> dagger.Directory:
    """Findings; of other platforms in ``platforms/OS-ARCH``, where this machine runs them."""
    found = await findings(kws, image.loaded(), clips)
    for platform in image.platforms[1:]:
        answers = await findings(kws, image.loaded(platform), clips)
        found = found.with_directory(f"platforms/{platform.replace('/', '-')}", answers)
    return found
