"""The module's functions: thin, each a composition of stages."""

import json
from enum import Enum
from typing import Annotated, Any

import dagger
from dagger import DefaultPath, Doc, Ignore, ReturnType, check, dag, enum_type, function, object_type

from . import arguments, checks, doctor, github, image, stages, supply_chain
from . import sweep as sweeps
from .concurrency import together
from .environment import Environment
from .errors import ProgramError, UserError, plainly, said
from .github import GITHUB_API
from .last_release import figures, read_back
from .registry import Registry, release_tags, repository_of
from .releases import Log, Releases, RequestToken, RequestUrl, SigningKey, SigningPassphrase
from .signing import Signing
from .trace import span

OFFICIAL_ARCHIVE = "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
BUILDER = "https://github.com/dagger/dagger/releases/tag/v0.21.8"
OFFICIAL_SHA256 = "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"

ModelFile = Annotated[dagger.File | None, Doc("model.onnx of an earlier training; without it a model is trained first")]
Dataset = Annotated[
    dagger.File | None,
    Doc("Archive (.tar.gz) in the Speech Commands layout; without it the official v0.02 archive is downloaded"),
]
Synthetic = Annotated[bool, Doc("Use the corpus spoken by espeak-ng: needs no download")]
Profile = Annotated[str, Doc("Training profile: quick, standard or best (the trainer's default: standard)")]
Epochs = Annotated[int | None, Doc("Epochs of training (default: the profile's)")]
Seed = Annotated[int | None, Doc("Seed of training and of the synthetic corpus")]
Labels = Annotated[list[str] | None, Doc("The words to tell apart (default: up,down,yes,no)")]
Address = Annotated[str, Doc("Where to publish: HOST/NAME, such as ghcr.io/owner/name or 127.0.0.1:5000/me/name")]
Username = Annotated[str, Doc("User name at the registry")]
Password = Annotated[dagger.Secret | None, Doc("Password or token at the registry, such as env:CR_PAT")]
Tags = Annotated[
    list[str] | None,
    Doc("Tags to publish under (default: commit, branch and version as far as they are named; latest from master)"),
]
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
    Doc(
        "evaluation.json or gates.json to compare with: its loss is a gate, its figures stand in the report "
        "(default: what is attached to the image under latest at the address)"
    ),
]

Artifacts = Annotated[dagger.Directory, Doc("What `pipeline` returned")]
Slug = Annotated[str, Doc("The repository on GitHub: OWNER/NAME")]
Token = Annotated[dagger.Secret, Doc("A token that may do this, such as env:GITHUB_TOKEN")]
Api = Annotated[str, Doc("GitHub's API, or that of an Enterprise server")]


@enum_type
class Stage(Enum):
    """A stage whose container can be entered."""

    TRAIN = "train"
    """`python -m model`, the data set in /data/set"""
    IMAGE = "image"
    """the inference image, as its numeric user"""
    PROBE = "probe"
    """`python -m service.probe`, the service at http://api:8000, recordings in /clips"""
    TOOLS = "tools"
    """`python -m tools.…`: gates, report"""


@object_type
class Kws:
    """Train, build, test and publish an audio keyword classifier."""

    dependencies: Annotated[  # not "lock", which the CLI has an option of its own for
        dagger.Directory,
        Doc("The lock, its installer and what trims: pyproject.toml, uv.lock, tools/install.py, tools/trim.py"),
        DefaultPath("/"),
        Ignore(["**", "!pyproject.toml", "!uv.lock", "!tools/install.py", "!tools/trim.py"]),
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
                "!uv.lock",
                "!dagger.json",
                "!renovate.json",
                "!.pre-commit-config.yaml",
                "!Makefile",
                "!*.toml",
                "!*.md",
                "!docs/**",
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
    audit_file: Annotated[
        dagger.File, Doc("Vulnerabilities that are accepted, each until a day"), DefaultPath("/audit.toml")
    ]
    changelog: Annotated[dagger.File, Doc("Its section is the text of a release"), DefaultPath("/CHANGELOG.md")]
    base_image: Annotated[str, Doc("Image with Python that every container starts from")] = "python:3.13-slim"
    package_index: Annotated[str, Doc("A mirror of PyPI (default: PyPI)")] = ""
    torch_index: Annotated[
        str, Doc("Index of torch's CPU build; where it cannot be reached, torch comes from the package index")
    ] = "https://download.pytorch.org/whl/cpu"
    actionlint_image: Annotated[str, Doc("Image with actionlint, for the check of the workflows")] = (
        "rhysd/actionlint:1.7.12"
    )
    dataset_url: Annotated[str, Doc("Address of the official archive, or of a mirror of it")] = OFFICIAL_ARCHIVE
    dataset_sha256: Annotated[str, Doc("SHA-256 of that archive, as sha256:HEX")] = OFFICIAL_SHA256
    repository: Annotated[str, Doc("Address of the source repository, for the image's labels")] = ""
    revision: Annotated[str, Doc("Commit of the source, for the image's labels")] = ""
    version: Annotated[str, Doc("Version of the release, from its git tag, for the image's labels and tags")] = ""
    branch: Annotated[str, Doc("Branch of the source, for the image's tags")] = ""
    created: Annotated[str, Doc("The commit's time, ISO 8601 or seconds since 1970: the image's only time")] = ""
    platforms: Annotated[
        list[str] | None,
        Doc("Platforms of the image under one index, such as linux/amd64,linux/arm64 (default: the engine's own)"),
    ] = None
    debian_mirror: Annotated[str, Doc("A mirror of http://deb.debian.org, for the registry's tools")] = ""
    vulnerability_source: Annotated[str, Doc("A server with OSV's API; empty: the pipeline asks none")] = (
        "https://api.osv.dev"
    )
    builder: Annotated[str, Doc("URI of who runs the build, for the provenance")] = BUILDER
    invocation: Annotated[str, Doc("URI of the run, for the provenance")] = ""

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
    async def image_tar(
        self, model: ModelFile = None, dataset: Dataset = None, synthetic: Synthetic = False
    ) -> dagger.File:
        """The inference image as an OCI archive, for `docker load` and `skopeo`: equal for equal content."""
        return await self._sealed(self._model(model, dataset, synthetic))

    @function
    def sbom(self, model: ModelFile = None, dataset: Dataset = None, synthetic: Synthetic = False) -> dagger.Directory:
        """What is inside the image: sbom.cdx.json (Python, Debian, model and data) and licences.tsv."""
        return self._materials(self._model(model, dataset, synthetic))

    @function(cache="never")  # type: ignore[call-overload]
    async def audit(
        self,
        sbom: Annotated[
            dagger.File | None, Doc("sbom.cdx.json of an image, such as one attached to a release; else one is built")
        ] = None,
        model: ModelFile = None,
        dataset: Dataset = None,
        synthetic: Synthetic = False,
    ) -> str:
        """Fail, with a line each, where what is inside the image has a known vulnerability with a fix."""
        sbom = sbom or self._materials(self._model(model, dataset, synthetic)).file("sbom.cdx.json")
        asked = self._audit(sbom, "--fail")
        if await asked.exit_code() != 0:
            raise ProgramError((await asked.combined_output()).strip())
        return await asked.stdout()

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
        signing_key: SigningKey = None,
        signing_passphrase: SigningPassphrase = None,
        oidc_request_url: RequestUrl = None,
        oidc_request_token: RequestToken = None,
        transparency_log: Log = False,
    ) -> str:
        """Publish the inference image; prints its digest reference. Tests nothing: that is the pipeline's part."""
        target = Registry(address, username, password, registry)
        target.check_reachable()
        signing = Signing(signing_key, signing_passphrase, oidc_request_url, oidc_request_token, transparency_log)
        await signing.check()
        names = release_tags(self.revision, self.branch, self.version, tags)
        made = self._model(model, dataset, synthetic)
        return await self._release(target, await self._sealed(made), names, {"model": made}, signing, {})

    @function
    def releases(
        self, address: Address, username: Username = "", password: Password = None, registry: RegistryService = None
    ) -> Releases:
        """What has been released to a registry: verify, sign, promote, rollback, attachments, prune."""
        target = Registry(address, username, password, registry)
        target.check_reachable()
        return Releases(  # type: ignore[call-arg]  # object_type is no dataclass to mypy
            address=address,
            username=username,
            password=password,
            service=registry,
            base_image=self.base_image,
            debian_mirror=self.debian_mirror,
            tools=self.tools_source,
        )

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
            raise UserError("--image and --reference exclude each other: give one")
        if reference:
            image = Registry(repository_of(reference), username, password, registry).pull(reference)
        elif image is None:
            image = self._image(model, dataset, synthetic)
        clips = clips or self._clips(self._dataset(dataset, synthetic))
        tested = stages.probe(self._prober, image, clips, await self._limits(bounds))
        return await plainly(tested.directory(f"{stages.ARTIFACTS}/inference").sync(), whole=True)

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
        publish: Annotated[bool, Doc("Publish to the address; false: only compare with the last release there")] = True,
        signing_key: SigningKey = None,
        signing_passphrase: SigningPassphrase = None,
        oidc_request_url: RequestUrl = None,
        oidc_request_token: RequestToken = None,
        transparency_log: Log = False,
    ) -> dagger.Directory:
        """The whole way: train, build, test, and with an address publish, pull back and test again.

        Returns every artefact, also when a gate failed; then nothing is published. `gates` turns the verdict
        into an exit code.
        """
        target = Registry(address, username, password, registry) if address else None
        if target is not None:
            target.check_reachable()
        signing = Signing(signing_key, signing_passphrase, oidc_request_url, oidc_request_token, transparency_log)
        await signing.check()
        names = release_tags(self.revision, self.branch, self.version, tags)
        data = self._dataset(dataset, synthetic, seed, labels)
        model = self._train(data, profile, epochs, seed, labels)
        # What is wrong in these is named before any work.
        arguments.moment(self.created)
        await self._others()
        await self._bounds(bounds)
        built = self._build(model.file("model.onnx"))
        clips = self._clips(data, labels)

        async def train() -> dagger.File | str:
            # What the registry refuses is said before a training; the trainer installs meanwhile.
            last = last_release or await self._last_release(target)
            await span("train", model.sync())
            return last

        # The other containers install while the model trains.
        last, *_ = await together(
            train(),
            clips.sync(),
            image.packages(self._environment).sync(),
            self._prober.sync(),
            stages.sbom_writer(self._environment).sync(),
        )
        materials = self._materials(model.file("model.onnx"))

        async def tested() -> dagger.Directory:
            await span("build", built.sync())
            return await span("test /predict", self._inference(built, clips))

        async def sealed() -> dagger.File:
            return await (await self._sealed(model.file("model.onnx"))).sync()

        inference, archive, audited = await together(tested(), span("seal", sealed()), self._audited(materials))
        artifacts = (
            dag.directory()
            .with_directory("model", model)
            .with_directory("inference", inference)
            .with_file("image/inference_image.tar", archive)
            .with_directory("image", audited)
            .with_file("image/image.json", stages.image_facts(self._environment, self.tools_source, archive))
        )
        judged = self._judge(artifacts, bounds, last)
        if await span("judge", judged.exit_code()) != 0 or target is None or not publish:
            return await judged.directory(stages.ARTIFACTS).sync()

        files = {"sbom": materials.file("sbom.cdx.json"), "evaluation": model.file("evaluation.json")}
        files |= {"model": model.file("model.onnx"), "figures": await figures(judged)}
        parameters = {"profile": profile, "epochs": epochs, "seed": seed, "labels": ",".join(labels or [])}
        reference = await self._release(target, archive, names, files, signing, parameters)
        pulled = stages.probe(self._prober, target.pull(reference), clips, expect=ReturnType.ANY)
        facts = stages.image_facts(self._environment, self.tools_source, archive, reference)
        artifacts = artifacts.with_file("image/image.json", facts).with_directory(
            "inference/published", await span("pull back and test", stages.findings(pulled))
        )
        return await self._judge(artifacts, bounds, last).directory(stages.ARTIFACTS).sync()

    @function
    async def gates(self, artifacts: Artifacts) -> str:
        """Fail, with a line a failed gate, where the pipeline's verdict was no."""
        return await said(stages.verdict(self._environment, self.tools_source, artifacts), whole=True)

    @function
    async def sweep(
        self,
        seeds: Annotated[list[int] | None, Doc("Seeds to train with (default: 0, 1, 2)")] = None,
        settings: Annotated[
            list[str] | None,
            Doc(
                "Options of the trainer to try, each item NAME=VALUE pairs apart by spaces: learning-rate=0.01 width=2"
            ),
        ] = None,
        parallel: Annotated[int, Doc("Trainings at a time; each takes all processors it gets")] = 2,
        dataset: Dataset = None,
        synthetic: Synthetic = False,
        profile: Profile = "",
        epochs: Epochs = None,
        labels: Labels = None,
    ) -> sweeps.Sweep:
        """Train with several seeds and settings side by side; the validation split chooses the best.

        `results` is the table and every run, `image` the inference image around the best. A run that fails has its
        reason in the table and sinks no other.
        """
        arguments.check_training(profile, epochs, labels=labels)
        trials = sweeps.trials([0, 1, 2] if seeds is None else seeds, settings or [])
        data = self._dataset(dataset, synthetic, None, labels)
        options = _options(profile=profile, epochs=epochs, labels=labels)
        runs = await sweeps.run(self._trainer, data, options, trials, parallel)
        results = await sweeps.compare(self._environment, self.model_source, self.tools_source, runs)
        best = self._build(results.file("best/model.onnx"))
        return sweeps.Sweep(results=results, image=best)  # type: ignore[call-arg]  # object_type is no dataclass to mypy

    @function
    def shell(
        self,
        stage: Annotated[Stage, Doc("Whose container")] = Stage.TRAIN,
        model: ModelFile = None,
        dataset: Dataset = None,
        synthetic: Synthetic = False,
    ) -> dagger.Container:
        """A stage's container with its data in place: `dagger call shell --stage=TRAIN --synthetic terminal`."""
        if stage is Stage.TOOLS:
            return stages.reporter(self._environment, self.model_source, self.tools_source).with_mounted_file(
                stages.GATES, self.gates_file
            )
        if stage is Stage.IMAGE:
            return self._image(model, dataset, synthetic)
        data = self._dataset(dataset, synthetic)
        if stage is Stage.TRAIN:
            return self._trainer.with_mounted_directory("/data/set", data)
        service = self._image(model, dataset, synthetic).as_service(use_entrypoint=True)
        return self._prober.with_service_binding("api", service).with_mounted_directory("/clips", self._clips(data))

    @function(cache="never")  # type: ignore[call-overload]
    async def comment(
        self,
        artifacts: Artifacts,
        repository: Slug,
        number: Annotated[int, Doc("Number of the pull request")],
        token: Token,
        api: Api = GITHUB_API,
    ) -> str:
        """Write the report into its one comment on a pull request; prints the comment's address."""
        arguments.check_repository(repository)
        arguments.check_number(number)
        return await github.comment(self._environment, self.tools_source, artifacts, repository, api, token, number)

    @function(cache="never")  # type: ignore[call-overload]
    async def release(
        self,
        artifacts: Artifacts,
        repository: Slug,
        tag: Annotated[str, Doc("The git tag, such as v1.2.0; CHANGELOG.md has a section about it")],
        token: Token,
        api: Api = GITHUB_API,
    ) -> str:
        """Make the release of a tag on GitHub, with model, evaluation, SBOM and report; prints its address."""
        arguments.check_repository(repository)
        return await github.release(
            self._environment, self.tools_source, artifacts, repository, api, token, tag, self.changelog
        )

    @function(cache="never")  # type: ignore[call-overload]
    async def doctor(
        self,
        address: Address = "",
        username: Username = "",
        password: Password = None,
        registry: RegistryService = None,
    ) -> str:
        """Check what the pipeline needs: engine, mirrors, data set, registry. A line each, with what to change.

        Asks from the containers' own network. Of a registry: push (an upload that is cancelled), pull of `latest`.
        """
        target = Registry(address, username, password, registry) if address else None
        if target is not None:
            target.check_reachable()
        addresses = {
            "package-index": self.package_index,
            "torch-index": self.torch_index,
            "dataset-url": self.dataset_url,
            "debian-mirror": self.debian_mirror,
            "vulnerability-source": self.vulnerability_source,
        }
        project = self.checkout.file("dagger.json")
        return await doctor.examine(self._environment, self.tools_source, project, addresses, target)

    @function
    @check
    async def lint(self) -> str:
        """Code is clean under ruff."""
        return await checks.lint(self._environment, self.checkout)

    @function
    @check
    async def workflows(self) -> str:
        """The workflows are clean under actionlint and zizmor (pedantic)."""
        return await checks.workflows(self._environment, self.checkout, self.actionlint_image)

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
        return await said(stages.probe(self._prober, built, self._clips(data), await self._limits()), whole=True)

    # Private builders: called in Python, so that one call of the module starts one interpreter.

    @property
    def _environment(self) -> Environment:
        return Environment(self.base_image, self.package_index, self.torch_index, self.dependencies)

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
            raise UserError("--dataset and --synthetic exclude each other: give one")
        options = _options(labels=labels)
        if synthetic:
            return stages.dataset_synthetic(self._trainer, options + _options(synthetic_seed=seed))
        if archive is None:
            arguments.check_archive(self.dataset_url, self.dataset_sha256)
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
        arguments.check_training(profile, epochs, seed, labels)
        options = _options(profile=profile, epochs=epochs, seed=seed, labels=labels)
        return stages.train(self._trainer, data, options)

    def _model(self, model: dagger.File | None, archive: dagger.File | None, synthetic: bool) -> dagger.File:
        return model or self._train(self._dataset(archive, synthetic)).file("model.onnx")

    def _image(self, model: dagger.File | None, archive: dagger.File | None, synthetic: bool) -> dagger.Container:
        return self._build(self._model(model, archive, synthetic))

    def _clips(self, data: dagger.Directory, labels: list[str] | None = None) -> dagger.Directory:
        return stages.clips(self._trainer, data, _options(labels=labels))

    def _build(self, model: dagger.File, platform: str = "") -> dagger.Container:
        origin = image.Origin(self.repository, self.revision, self.version)
        return image.build(self._environment, self.service_source, model, origin, platform)

    def _materials(self, model: dagger.File) -> dagger.Directory:
        built = self._build(model)
        python = stages.sbom(self._environment, built)
        facts = supply_chain.model_labels(self._environment, self.tools_source, model)
        return supply_chain.materials(self._environment, self.tools_source, python, built, facts)

    def _audit(self, sbom: dagger.File, *options: str) -> dagger.Container:
        source = self.vulnerability_source
        return supply_chain.audit(self._environment, self.tools_source, sbom, self.audit_file, source, *options)

    async def _audited(self, materials: dagger.Directory) -> dagger.Directory:
        """With ``audit.json``; without it the gate says that nothing was measured, and the log why."""
        await span("SBOM", materials.sync())
        if not self.vulnerability_source:
            return materials
        asked = self._audit(materials.file("sbom.cdx.json"))
        if await span("audit", asked.exit_code()) != 0:
            print((await asked.stderr()).strip())
            return materials
        return materials.with_file("audit.json", asked.file("/audit.json"))

    async def _last_release(self, target: Registry | None) -> dagger.File | str:
        """What to compare with, from the registry; without one, why there is nothing."""
        if target is None:
            return "neither --address nor --last-release was given"
        return await span("last release", read_back(target, self._release_tools))

    async def _others(self) -> list[str]:
        """The platforms of the image beside the engine's own."""
        if not self.platforms:
            return []
        return arguments.other_platforms(self.platforms, await dag.default_platform())

    async def _sealed(self, model: dagger.File) -> dagger.File:
        """The OCI archive of the image, of every platform asked for, as it is published."""
        created, others = arguments.moment(self.created), await self._others()
        base = await self._environment.base().image_ref()
        labels = {
            "org.opencontainers.image.base.name": self.base_image,
            "org.opencontainers.image.base.digest": base.rpartition("@")[2],
        }
        images = [self._build(model, platform) for platform in ("", *others)]
        facts = supply_chain.model_labels(self._environment, self.tools_source, model)
        return supply_chain.seal(self._environment, self.tools_source, images, labels, facts, created)

    async def _release(
        self,
        target: Registry,
        archive: dagger.File,
        tags: list[str],
        files: dict[str, dagger.File],
        signing: Signing,
        parameters: dict[str, Any],
    ) -> str:
        """Push, attach, sign, tag; returns ``HOST/NAME@sha256:…``."""
        byproducts = {supply_chain.FILES[kind]: file for kind, file in files.items()}
        stated = supply_chain.provenance(
            self._environment,
            self.tools_source,
            archive,
            target.address,
            self.builder,
            self.invocation,
            {"repository": self.repository, "revision": self.revision, "version": self.version, **parameters},
            byproducts,
        )
        container = self._release_tools.with_mounted_file("/image.tar", archive)
        container, attach = supply_chain.attached(container, {**files, "provenance": stated})
        container, sign = signing.apply(container)
        released = target.run(container, "release", "/image.tar", *attach, *sign, "--tags", *tags)
        return await span("publish", said(released))

    @property
    def _prober(self) -> dagger.Container:
        return stages.prober(self._environment, self.service_source)

    async def _inference(self, built: dagger.Container, clips: dagger.Directory) -> dagger.Directory:
        """The probe's findings, then the time of a start: one after the other, each would slow the other down."""
        found = await stages.findings(stages.probe(self._prober, built, clips, expect=ReturnType.ANY))
        return await stages.start_time(built, self.tools_source, found)

    @property
    def _release_tools(self) -> dagger.Container:
        return supply_chain.release_tools(self._environment.base(), self.debian_mirror, self.tools_source)

    async def _bounds(self, replaced: list[str] | None) -> dict[str, Any]:
        """The bounds that hold; None: that gate is off. Raises UserError where one cannot be meant."""
        read = stages.bounds(self._environment, self.tools_source, self.gates_file, replaced or [])
        if await read.exit_code() != 0:
            raise UserError(f"--bounds: {(await read.stderr()).strip()}")
        return dict(json.loads(await read.stdout()))

    async def _limits(self, replaced: list[str] | None = None) -> list[str]:
        """The probe's options for the bounds that it judges itself where there is no pipeline around it."""
        held = await self._bounds(replaced)
        return _options(min_accuracy=held["min_clip_accuracy"], max_latency_ms=held["max_p95_ms"])

    def _judge(
        self, artifacts: dagger.Directory, replaced: list[str] | None, release: dagger.File | str
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
