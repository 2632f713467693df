"""The module's functions: thin, each a composition of stages."""

import json
from typing import Annotated, Any

import dagger
from dagger import DefaultPath, Doc, Ignore, ReturnType, check, dag, function, object_type

from . import checks, image, stages
from .concurrency import together
from .environment import Environment
from .registry import Registry, checked_tags, repository_of

OFFICIAL_ARCHIVE = "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
OFFICIAL_SHA256 = "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"

ModelFile = Annotated[dagger.File | None, Doc("model.onnx of an earlier training; without it a model is trained first")]
Dataset = Annotated[
    dagger.File | None,
    Doc("Archive (.tar.gz) in the Speech Commands layout; without it the official v0.02 archive is downloaded"),
]
Synthetic = Annotated[bool, Doc("Use the corpus spoken by espeak-ng: needs no download")]
Profile = Annotated[str, Doc("Training profile: quick or standard (the trainer's default: standard)")]
Epochs = Annotated[int | None, Doc("Epochs of training (default: the profile's)")]
Seed = Annotated[int | None, Doc("Seed of training and of the synthetic corpus")]
Labels = Annotated[list[str] | None, Doc("The words to tell apart (default: up,down,yes,no)")]
Address = Annotated[str, Doc("Where to publish: HOST/NAME, such as ghcr.io/owner/name or 127.0.0.1:5000/me/name")]
Username = Annotated[str, Doc("User name at the registry")]
Password = Annotated[dagger.Secret | None, Doc("Password or token at the registry, such as env:CR_PAT")]
Tags = Annotated[list[str] | None, Doc("Tags to publish under (default: latest)")]
RegistryService = Annotated[
    dagger.Service | None,
    Doc("A registry that only the caller reaches, such as tcp://127.0.0.1:5000; it answers for the address"),
]
Bounds = Annotated[
    list[str] | None,
    Doc("Bounds that replace those of gates.toml, as NAME=VALUE, such as min_accuracy=0.95; false: no such gate"),
]
LastRelease = Annotated[
    dagger.File | None,
    Doc("evaluation.json or gates.json of the last release: its loss is a gate, its figures stand in the report"),
]


@object_type
class Kws:
    """Train, build, test and publish an audio keyword classifier."""

    lock: Annotated[
        dagger.Directory,
        Doc("The lock and its installer: pyproject.toml, uv.lock, tools/install.py"),
        DefaultPath("/"),
        Ignore(["**", "!pyproject.toml", "!uv.lock", "!tools/install.py"]),
    ]
    model_source: Annotated[
        dagger.Directory, Doc("The trainer's code"), DefaultPath("/model"), Ignore(["**", "!**/*.py"])
    ]
    service_source: Annotated[
        dagger.Directory,
        Doc("The inference app's code"),
        DefaultPath("/service"),
        Ignore(["**/__pycache__", "**/*.pyc", "**/.*", "**/*.md"]),
    ]
    tools_source: Annotated[
        dagger.Directory,
        Doc("The report and other small programs"),
        DefaultPath("/tools"),
        Ignore(["**", "!**/*.py"]),
    ]
    checkout: Annotated[
        dagger.Directory,
        Doc("All that lint, types and unit tests look at"),
        DefaultPath("/"),
        Ignore(
            [
                "**",
                "!pyproject.toml",
                "!uv.lock",
                "!dagger.json",
                "!Makefile",
                "!model/**",
                "!service/**",
                "!tools/**",
                "!tests/**",
                "!ci/**",
                "!.github/**",
                "ci/sdk",
                "**/.venv",
                "**/__pycache__",
                "**/.*_cache",
            ]
        ),
    ]
    gates_file: Annotated[dagger.File, Doc("The bounds of the gates"), DefaultPath("/gates.toml")]
    base_image: Annotated[str, Doc("Image with Python that every container starts from")] = "python:3.13-slim"
    package_index: Annotated[str, Doc("A mirror of PyPI (default: PyPI)")] = ""
    torch_index: Annotated[
        str, Doc("Index of torch's CPU build; where it cannot be reached, torch comes from the package index")
    ] = "https://download.pytorch.org/whl/cpu"
    dataset_url: Annotated[str, Doc("Address of the official archive, or of a mirror of it")] = OFFICIAL_ARCHIVE
    dataset_sha256: Annotated[str, Doc("SHA-256 of that archive, as sha256:HEX")] = OFFICIAL_SHA256
    repository: Annotated[str, Doc("Address of the source repository, for the image's labels")] = ""
    revision: Annotated[str, Doc("Commit of the source, for the image's labels")] = ""
    version: Annotated[str, Doc("Version of the release, for the image's labels")] = ""

    @function
    def train(
        self,
        dataset: Dataset = None,
        synthetic: Synthetic = False,
        profile: Profile = "",
        epochs: Epochs = None,
        seed: Seed = None,
        labels: Labels = None,
    ) -> dagger.Directory:
        """Train the model: best_model.pth, model.onnx, train.log, train_metrics.json, evaluation.json, report.md."""
        return self._train(self._dataset(dataset, synthetic, seed, labels), profile, epochs, seed, labels)

    @function
    def build(self, model: ModelFile = None, dataset: Dataset = None, synthetic: Synthetic = False) -> dagger.Container:
        """Build the inference image around a model."""
        return self._image(model, dataset, synthetic)

    @function
    def image_tar(self, model: ModelFile = None, dataset: Dataset = None, synthetic: Synthetic = False) -> dagger.File:
        """The inference image as an OCI archive, for `docker load` and `skopeo`."""
        return self._image(model, dataset, synthetic).as_tarball()

    @function(cache="never")  # type: ignore[call-overload]
    async def publish(
        self,
        address: Address,
        username: Username = "",
        password: Password = None,
        tags: Tags = None,
        registry: RegistryService = None,
        model: ModelFile = None,
        dataset: Dataset = None,
        synthetic: Synthetic = False,
    ) -> str:
        """Publish the inference image; prints its digest reference. Tests nothing: that is the pipeline's part."""
        target = Registry(address, username, password, registry)
        names = checked_tags(["latest"] if tags is None else tags)
        return await target.publish(self._image(model, dataset, synthetic), names)

    @function
    async def test_predict(
        self,
        image: Annotated[dagger.Container | None, Doc("The image to test, built or pulled")] = None,
        reference: Annotated[str, Doc("A published image to pull and test, HOST/NAME@sha256:… or HOST/NAME:TAG")] = "",
        username: Username = "",
        password: Password = None,
        registry: RegistryService = None,
        clips: Annotated[
            dagger.Directory | None,
            Doc("Labelled WAVs, a folder a label (default: of the data set's test split)"),
        ] = None,
        model: ModelFile = None,
        dataset: Dataset = None,
        synthetic: Synthetic = False,
        bounds: Bounds = None,
    ) -> dagger.Directory:
        """Start an image and test its /predict: response.json, inference_metrics.json.

        Without an image or a reference, one is built from `--model`, or trained first.
        """
        if image is not None and reference:
            raise ValueError("--image and --reference exclude each other: give one")
        if reference:
            image = Registry(repository_of(reference), username, password, registry).pull(reference)
        elif image is None:
            image = self._image(model, dataset, synthetic)
        clips = clips or self._clips(self._dataset(dataset, synthetic))
        tested = stages.probe(self._prober, image, clips, await self._limits(bounds))
        return await tested.directory(f"{stages.ARTIFACTS}/inference").sync()

    @function
    def serve(self, model: ModelFile = None, dataset: Dataset = None, synthetic: Synthetic = False) -> dagger.Service:
        """Run the inference image; `dagger call serve --model=… up --ports=8000:8000` opens it on this machine."""
        return self._image(model, dataset, synthetic).as_service(use_entrypoint=True)

    # The CLI hides every function called "pipeline" (dagger 0.21, dagql/dagui/opts.go: a former core function of that
    # name). The underscore makes the API's name "Pipeline", which it shows, and calls, as `pipeline`.
    @function(name="_pipeline", cache="never")  # type: ignore[call-overload]
    async def pipeline(
        self,
        dataset: Dataset = None,
        synthetic: Synthetic = False,
        profile: Profile = "",
        epochs: Epochs = None,
        seed: Seed = None,
        labels: Labels = None,
        address: Address = "",
        username: Username = "",
        password: Password = None,
        tags: Tags = None,
        registry: RegistryService = None,
        bounds: Bounds = None,
        last_release: LastRelease = None,
    ) -> dagger.Directory:
        """The whole way: train, build, test, and with an address publish, pull back and test again.

        Returns every artefact, also when a gate failed; then nothing is published. `gates` turns the verdict
        into an exit code.
        """
        target = Registry(address, username, password, registry) if address else None
        names = checked_tags(["latest"] if tags is None else tags)
        await self._bounds(bounds)  # a wrong one is named before any work

        data = self._dataset(dataset, synthetic, seed, labels)
        model = self._train(data, profile, epochs, seed, labels)
        built = self._build(model.file("model.onnx"))
        clips = self._clips(data, labels)
        # The other containers install while the model trains.
        await together(
            model.sync(),
            clips.sync(),
            image.packages(self._environment).sync(),
            self._prober.sync(),
            stages.sbom_writer(self._environment).sync(),
        )
        archive = built.as_tarball()
        materials = stages.sbom(self._environment, built)
        inference, *_ = await together(
            self._inference(built, clips),
            archive.sync(),
            materials.sync(),
        )
        artifacts = (
            dag.directory()
            .with_directory("model", model)
            .with_directory("inference", inference)
            .with_file("image/inference_image.tar", archive)
            .with_file("image/sbom.cdx.json", materials)
            .with_file("image/image.json", stages.image_facts(self._environment, self.tools_source, archive))
        )
        judged = self._judge(artifacts, bounds, last_release)
        if target is None or await judged.exit_code() != 0:
            return await judged.directory(stages.ARTIFACTS).sync()

        reference = await target.publish(built, names)
        pulled = stages.probe(self._prober, target.pull(reference), clips, expect=ReturnType.ANY)
        facts = stages.image_facts(self._environment, self.tools_source, archive, reference)
        artifacts = artifacts.with_file("image/image.json", facts).with_directory(
            "inference/published", await stages.findings(pulled)
        )
        return await self._judge(artifacts, bounds, last_release).directory(stages.ARTIFACTS).sync()

    @function
    async def gates(self, artifacts: Annotated[dagger.Directory, Doc("What `pipeline` returned")]) -> str:
        """Fail, with a line a failed gate, where the pipeline's verdict was no."""
        return await stages.verdict(self._environment, self.tools_source, artifacts).stdout()

    @function
    @check
    async def lint(self) -> str:
        """Code and workflows are clean under ruff and zizmor."""
        return await checks.lint(self._environment, self.checkout)

    @function
    @check
    async def types(self) -> str:
        """Code is clean under mypy."""
        return await checks.types(self._environment, self.checkout)

    @function
    @check
    async def unit_tests(self) -> str:
        """The tests that need no engine pass."""
        return await checks.unit_tests(self._environment, self.checkout)

    @function
    @check
    async def predict(self) -> str:
        """An image with a model trained on the synthetic corpus answers /predict rightly."""
        data = self._dataset(None, synthetic=True)
        model = self._train(data, profile="quick")
        built = self._build(model.file("model.onnx"))
        return await stages.probe(self._prober, built, self._clips(data), await self._limits()).stdout()

    # Private builders: called in Python, so that one call of the module starts one interpreter.

    @property
    def _environment(self) -> Environment:
        return Environment(self.base_image, self.package_index, self.torch_index, self.lock)

    @property
    def _trainer(self) -> dagger.Container:
        return stages.trainer(self._environment, self.model_source)

    def _dataset(
        self,
        archive: dagger.File | None,
        synthetic: bool,
        seed: int | None = None,
        labels: list[str] | None = None,
    ) -> dagger.Directory:
        if archive is not None and synthetic:
            raise ValueError("--dataset and --synthetic exclude each other: give one")
        options = _options(labels=labels)
        if synthetic:
            return stages.dataset_synthetic(self._trainer, options + _options(synthetic_seed=seed))
        if archive is None:
            archive = dag.http(self.dataset_url, checksum=self.dataset_sha256)
        return stages.dataset_from_archive(self._trainer, archive, options)

    def _train(
        self,
        data: dagger.Directory,
        profile: str = "",
        epochs: int | None = None,
        seed: int | None = None,
        labels: list[str] | None = None,
    ) -> dagger.Directory:
        options = _options(profile=profile, epochs=epochs, seed=seed, labels=labels)
        return stages.train(self._trainer, data, options)

    def _image(self, model: dagger.File | None, archive: dagger.File | None, synthetic: bool) -> dagger.Container:
        return self._build(model or self._train(self._dataset(archive, synthetic)).file("model.onnx"))

    def _clips(self, data: dagger.Directory, labels: list[str] | None = None) -> dagger.Directory:
        return stages.clips(self._trainer, data, _options(labels=labels))

    def _build(self, model: dagger.File) -> dagger.Container:
        origin = image.Origin(self.repository, self.revision, self.version)
        return image.build(self._environment, self.service_source, model, origin)

    @property
    def _prober(self) -> dagger.Container:
        return stages.prober(self._environment, self.service_source)

    async def _inference(self, built: dagger.Container, clips: dagger.Directory) -> dagger.Directory:
        """The probe's findings, then the time of a start: one after the other, each would slow the other down."""
        found = await stages.findings(stages.probe(self._prober, built, clips, expect=ReturnType.ANY))
        return await stages.start_time(built, self.tools_source, found)

    async def _bounds(self, replaced: list[str] | None) -> dict[str, Any]:
        """The bounds that hold; None: that gate is off. Raises ValueError where one cannot be meant."""
        read = stages.bounds(self._environment, self.tools_source, self.gates_file, replaced or [])
        if await read.exit_code() != 0:
            raise ValueError(f"--bounds: {(await read.stderr()).strip()}")
        return dict(json.loads(await read.stdout()))

    async def _limits(self, replaced: list[str] | None = None) -> list[str]:
        """The probe's options for the bounds that it judges itself where there is no pipeline around it."""
        held = await self._bounds(replaced)
        return _options(min_accuracy=held["min_clip_accuracy"], max_latency_ms=held["max_p95_ms"])

    def _judge(
        self, artifacts: dagger.Directory, replaced: list[str] | None, release: dagger.File | None
    ) -> dagger.Container:
        environment, tools = self._environment, self.tools_source
        return stages.report(environment, self.model_source, tools, artifacts, self.gates_file, replaced or [], release)


def _options(**values: str | float | list[str] | None) -> list[str]:
    """Command-line options of those values that are given; lists are joined by commas."""
    return [
        f"--{name.replace('_', '-')}={','.join(value) if isinstance(value, list) else value}"
        for name, value in values.items()
        if value not in (None, "", [])
    ]
