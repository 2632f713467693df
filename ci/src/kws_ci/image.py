"""Image: the archive that is tested, scanned, judged and published, each time the same bytes."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagger
from dagger import ImageLayerCompression, dag

from .containers import APP, ARTIFACTS, VENV, Toolbox
from .settings import Settings
from .steps import ProgramError, UserError, settled, stdout, uncached

PORT = 8000
# Numeric, so that Kubernetes' runAsNonRoot can be checked without a passwd entry.
USER = "10001:10001"
ENTRYPOINT = ["python", "-m", "service"]
HEALTHCHECK = ["python", "-m", "service.healthcheck"]
LAYERS = 3  # over the base image, bottom first: dependencies, code, model; a retraining changes the last alone
PLATFORMS = ("linux/amd64", "linux/arm64")
INFERENCE = f"{ARTIFACTS}/inference"
ARCHIVE = "/inference_image.tar"


def moment(created: str) -> str:
    """``--created`` as OCI wants it (RFC 3339), in UTC; the epoch where it is not known. Raises UserError."""
    try:
        time = datetime.fromisoformat(created or "1970-01-01T00:00:00Z")
    except ValueError:
        raise UserError(f"--created {created!r} is not ISO 8601, such as 2026-03-01T12:00:00Z") from None
    if time.tzinfo is None:
        raise UserError(f"--created {created!r} has no time zone: add Z or an offset such as +01:00")
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Image:
    """An image as one archive.

    Attributes:
        digest: sha256:… of its manifest, or of its index where it has several platforms.
        platforms: of the index, the engine's own first.
    """

    archive: dagger.File
    digest: str
    platforms: list[str]

    def loaded(self, platform: str = "") -> dagger.Container:
        """The image out of the archive, as it will be pulled."""
        return dag.container(platform=dagger.Platform(platform) if platform else None).import_(self.archive)


class Builder:
    """Builds the inference image: a builder installs, the runtime stage holds only what answers requests."""

    def __init__(self, kws: Settings) -> None:
        self.kws, self.toolbox, self.created = kws, Toolbox(kws), moment(kws.created)

    async def platforms(self) -> list[str]:
        """Of the image, the engine's own first. Raises UserError on what cannot be built, or not be tested."""
        own, wanted = await dag.default_platform(), self.kws.platforms or []
        if unknown := [platform for platform in wanted if platform not in (own, *PLATFORMS)]:
            raise UserError(f"--platforms: {unknown[0]!r} is unknown: choose of {', '.join(PLATFORMS)}")
        if wanted and own not in wanted:
            raise UserError(f"--platforms lacks {own}, the engine's own: only of that one a test is sure to run")
        return list(dict.fromkeys([own, *wanted]))

    def packages(self, platform: str = "") -> dagger.Directory:
        """The virtual environment that answers requests, without what inference never touches."""
        installed = self.toolbox.installed("service", bytecode=True, platform=platform)
        return installed.with_exec(["python", "tools/trim.py", VENV]).directory(VENV)

    def container(self, onnx: dagger.File, platform: str = "") -> dagger.Container:
        """The layers from the one that changes least. Of another platform than the engine's nothing is run."""
        code = dag.directory().with_directory("kws", self.kws.kws_source)
        return (
            self.toolbox.base(platform)
            .with_env_variable("PYTHONUNBUFFERED", "1")
            .with_env_variable("PATH", f"{VENV}/bin:$PATH", expand=True)
            .with_env_variable("KWS_MODEL", f"{APP}/model.onnx")
            .with_env_variable("KWS_HOST", "*")  # of both address families
            .with_env_variable("KWS_PORT", str(PORT))
            .with_workdir(APP)
            .with_directory(VENV, self.packages(platform))
            .with_directory(APP, code.with_directory("service", self.kws.service_source))
            .with_file(f"{APP}/model.onnx", onnx, permissions=0o444)
            .with_user(USER)
            .with_exposed_port(PORT)
            .with_docker_healthcheck(HEALTHCHECK, interval="10s", timeout="3s", start_period="20s", start_interval="1s")
            .with_entrypoint(ENTRYPOINT)
            .with_default_args([])
        )

    async def labels(self, onnx: dagger.File) -> dict[str, str]:
        """Where source, base, model and data come from, as far as it is known, so that a registry can be asked."""
        base = await self.toolbox.base().image_ref()
        reader = self.toolbox.installed("service", bytecode=True).with_directory(f"{APP}/kws", self.kws.kws_source)
        reader = reader.with_mounted_file("/model.onnx", onnx)
        model = json.loads(await stdout(reader.with_exec(["python", "-m", "kws", "/model.onnx"])))
        labels = {
            "org.opencontainers.image.title": "kws",
            "org.opencontainers.image.description": "Audio keyword classifier: POST a recording to /predict",
            "org.opencontainers.image.licenses": "MIT",
            "org.opencontainers.image.source": self.kws.repository,
            "org.opencontainers.image.revision": self.kws.revision,
            "org.opencontainers.image.version": self.kws.version,
            "org.opencontainers.image.base.name": self.kws.base_image,
            "org.opencontainers.image.base.digest": base.rpartition("@")[2],
            "kws.model.digest": f"sha256:{model['sha256']}",
            "kws.model.version": model["version"],
            "kws.data.digest": model["data_digest"],
        }
        return {name: value for name, value in labels.items() if value}

    async def image(self, onnx: dagger.File) -> Image:
        """The archive. Its digest is equal for equal content, though the engine writes the build's time into it."""
        platforms, labels, variants = await self.platforms(), await self.labels(onnx), []
        for platform in ("", *platforms[1:]):
            container = self.container(onnx, platform)
            for name, value in labels.items():
                container = container.with_label(name, value)
            variants.append(container)
        packed = variants[0].as_tarball(platform_variants=variants[1:], forced_compression=ImageLayerCompression.Gzip)
        layout = (
            self.toolbox.with_tools(self.toolbox.base(), "regctl")
            .with_mounted_file("/engine.tar", packed)
            .with_new_file("/oci/oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}))
            .with_exec(["tar", "--extract", "--file=/engine.tar", "--directory=/oci"])
        )
        index = await _read(layout, "index.json")
        if len(index["manifests"]) != 1:
            raise ProgramError(f"the engine's archive names {len(index['manifests'])} manifests, not one")
        found = manifest = index["manifests"][0]
        while "layers" not in (manifest := await _read(layout, f"blobs/{manifest['digest'].replace(':', '/')}")):
            manifest = manifest["manifests"][0]
        # Of the base image's layers nothing is changed: what a registry has of them already is not pushed again.
        time = f"set={self.created},base-layers={len(manifest['layers']) - LAYERS}"
        source, sealed = f"ocidir:///oci@{found['digest']}", "ocidir:///oci:sealed"
        run = layout.with_exec(["regctl", "image", "mod", source, "--create=sealed", "--time", time])
        run = run.with_exec(["regctl", "image", "export", sealed, ARCHIVE])
        digest = await stdout(run.with_exec(["regctl", "image", "digest", sealed]))
        return Image(run.file(ARCHIVE), digest, platforms)


async def _read(layout: dagger.Container, path: str) -> dict[str, Any]:
    return dict(json.loads(await layout.file(f"/oci/{path}").contents()))


class Tester:
    """Tests images by ``python -m service.test_client``, apart from the image."""

    def __init__(self, kws: Settings) -> None:
        self.kws, self.toolbox = kws, Toolbox(kws)

    def container(self) -> dagger.Container:
        """The test client's dependencies and code."""
        container = self.toolbox.stage("probe", service=self.kws.service_source)
        return container.with_directory(INFERENCE, dag.directory())

    def bound(self, image: dagger.Container, clips: dagger.Directory) -> dagger.Container:
        """The test client with recordings in /clips and ``image``, started as its users do, as http://api:8000."""
        # A line a request would bury what matters in the pipeline's own log.
        service = image.with_env_variable("KWS_ACCESS_LOG", "false").as_service(use_entrypoint=True)
        return self.container().with_service_binding("api", service).with_mounted_directory("/clips", clips)

    async def findings(self, image: dagger.Container, clips: dagger.Directory) -> dagger.Directory:
        """response.json and inference_metrics.json; where the service did not start, error.txt: the engine's words."""
        command = ["python", "-m", "service.test_client", f"http://api:{PORT}", "--clips", "/clips"]
        try:
            tested = await settled(self.bound(image, clips), [*command, "--output", INFERENCE])
            return await tested.directory(INFERENCE).sync()
        except dagger.QueryError as error:
            return dag.directory().with_new_file("error.txt", f"{error}\n")

    async def start_time(self, image: dagger.Container) -> dagger.Directory:
        """``start_time.json``, measured inside the image; nothing where that could not be done."""
        output = "/tmp/start_time.json"  # noqa: S108 (its user may write there alone)
        quiet = image.with_env_variable("KWS_ACCESS_LOG", "false")
        starter = quiet.with_mounted_file("/start_time.py", self.kws.tools_source.file("start_time.py"))
        try:
            measured = await settled(starter, ["python", "/start_time.py", "--output", output, "--", *ENTRYPOINT])
            return await dag.directory().with_file("start_time.json", measured.file(output)).sync()
        except dagger.QueryError:
            return dag.directory()

    async def inference(self, image: Image, clips: dagger.Directory) -> dagger.Directory:
        """Findings, then the time of a start: side by side each would slow the other down.

        Of the other platforms too, where the engine's machine can run them: in ``platforms/OS-ARCH``.
        """
        found = await self.findings(image.loaded(), clips)
        found = found.with_directory(".", await self.start_time(image.loaded()))
        for platform in image.platforms[1:]:
            foreign = image.loaded(platform)
            try:
                await uncached(foreign).with_exec(["python", "--version"]).sync()
                findings = await self.findings(foreign, clips)
            except dagger.QueryError:
                findings = dag.directory().with_new_file("error.txt", f"this machine cannot run {platform}\n")
            found = found.with_directory(f"platforms/{platform.replace('/', '-')}", findings)
        return found
