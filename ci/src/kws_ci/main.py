"""The module's functions: thin, each a composition of the stages."""

from enum import Enum
from typing import Annotated

import dagger
from dagger import Doc, check, dag, enum_type, object_type

from . import checks, train
from . import image as images
from . import pipeline as pipelines
from . import sweep as sweeps
from .containers import Toolbox
from .publish import Releases
from .settings import QUICK
from .steps import UserError, function, stdout

ModelFile = Annotated[dagger.File | None, Doc("model.onnx of an earlier training; without it a model is trained first")]
Clips = Annotated[dagger.Directory | None, Doc("Labelled recordings (default: of the test split)")]
Tags = Annotated[list[str] | None, Doc("To publish under (default: commit, branch, version; latest if default branch)")]
Bounds = Annotated[list[str] | None, Doc("Bounds in place of those of gates.toml: NAME=VALUE; false: no such gate")]
Artifacts = Annotated[dagger.Directory, Doc("What `pipeline` returned")]
Sbom = Annotated[dagger.File | None, Doc("sbom.cdx.json, such as a release's attested one (default: one is made)")]


@enum_type
class Stage(Enum):
    """What can be entered: the trainer with its data, the image, the test client beside it, the release's tools."""

    TRAIN = "train"
    IMAGE = "image"
    TEST = "test"
    RELEASE = "release"


@object_type
class Kws(Toolbox):
    """Train, build, test and publish an audio keyword classifier."""

    @function
    async def train(self) -> dagger.Directory:
        """Train the model: best_model.pth, model.onnx, train.log, train_metrics.json, evaluation.json, report.md, …"""
        return (await train.train(self)).held()

    async def _image(self, model: dagger.File | None) -> images.Image:
        return await images.build(self, model or (await train.train(self)).held().file("model.onnx"))

    @function
    async def build(self, model: ModelFile = None) -> dagger.Container:
        """Build the inference image around a model."""
        return (await self._image(model)).loaded()

    @function
    async def image_tar(self, model: ModelFile = None) -> dagger.File:
        """The inference image as an OCI archive, for `docker load` and `skopeo`; equal content has an equal digest."""
        return (await self._image(model)).archive

    @function
    async def sbom(self, model: ModelFile = None) -> dagger.Directory:
        """What is inside the image: sbom.cdx.json (Python, Debian, model and data) and image.json."""
        return checks.described(self, await self._image(model))

    @function
    async def scan(self, sbom: Sbom = None, model: ModelFile = None) -> checks.Verdict:
        """Ask for the known vulnerabilities of what is inside an image: an object with `passed`, `failed`, `file`."""
        return await checks.scan(self, sbom or checks.described(self, await self._image(model)).file("sbom.cdx.json"))

    @function
    async def audit(self, sbom: Sbom = None, model: ModelFile = None) -> str:
        """Fail, with a line each, where an image holds a known vulnerability with a fix, or nobody could be asked."""
        return (await self.scan(sbom, model)).held()

    @function
    async def test_predict(
        self,
        reference: Annotated[str, Doc("A tag or digest at the address, to pull and test (default: one is built)")] = "",
        clips: Clips = None,
        model: ModelFile = None,
        bounds: Bounds = None,
    ) -> dagger.Directory:
        """Start an image and test its /predict: response.json, inference_metrics.json. Fails where a gate does."""
        if reference and model:
            raise UserError("--reference and --model exclude each other: give one")
        released = Releases(settings=self) if reference else None  # type: ignore[call-arg]
        image = await released.pulled(reference) if released else (await self._image(model)).loaded()
        return await checks.answers(self, image, clips or train.clips(self), bounds)

    @function
    async def serve(self, model: ModelFile = None) -> dagger.Service:
        """Run the inference image; `dagger call serve --model=… up --ports=8000:8000` opens it on this machine."""
        return (await self._image(model)).loaded().as_service(use_entrypoint=True)

    # The CLI hides every function called "pipeline" (dagger 0.21, dagql/dagui/opts.go: a former core function of that
    # name). The underscore makes the API's name "Pipeline", which it shows, and calls, as `pipeline`.
    @function(name="_pipeline")
    async def pipeline(
        self,
        bounds: Bounds = None,
        last_release: Annotated[dagger.File | None, Doc("gates.json to compare with (default: latest's)")] = None,
        publish: Annotated[bool, Doc("false: only compare with the last release at the address")] = True,
        tags: Tags = None,
    ) -> dagger.Directory:
        """The whole way; returns every artefact, also when a gate failed: `gates` makes an exit code of the verdict."""
        return await pipelines.run(self, bounds, last_release, publish, tags)

    @function
    async def publish(self, artifacts: Artifacts, clips: Clips = None, tags: Tags = None) -> str:
        """Publish the image of a run that held its gates, as the archive that was judged; prints its reference."""
        return await pipelines.publish(self, artifacts, clips, tags)

    @function
    def releases(self) -> Releases:
        """What has been released to the address: verify, attestations, promote, rollback."""
        return Releases(settings=self)  # type: ignore[call-arg]  # object_type is no dataclass to mypy

    @function
    async def gates(self, artifacts: Artifacts) -> str:
        """Fail, with a line a failed gate, where the pipeline's verdict was no."""
        return (await checks.verdict(self, artifacts)).held()

    @function
    async def verdict(self, artifacts: Artifacts) -> checks.Verdict:
        """The verdict as an object with `passed`, `failed` and `headline`, for a caller that decides by it."""
        return await checks.verdict(self, artifacts)

    @function
    async def sweep(
        self,
        seeds: Annotated[list[int] | None, Doc("Seeds to train with (default: 0, 1, 2)")] = None,
        settings: Annotated[list[str] | None, Doc("Each NAME=VALUE pairs apart by spaces: width=2 dropout=0.1")] = None,
        parallel: Annotated[int, Doc("Trainings at a time; each takes all processors it gets")] = 2,
    ) -> sweeps.Sweep:
        """Train with several seeds and settings side by side; the validation split chooses the best."""
        trials = sweeps.trials([0, 1, 2] if seeds is None else seeds, settings or [])
        return await sweeps.run(self, trials, parallel)

    @function
    async def shell(
        self, stage: Annotated[Stage, Doc("Whose container")] = Stage.TRAIN, model: ModelFile = None
    ) -> dagger.Container:
        """A stage's container with its data in place: `dagger call --synthetic shell --stage=TRAIN terminal`."""
        if stage is Stage.RELEASE:
            return self.programs("regctl", "syft", "osv-scanner", "cosign")
        if stage is Stage.TRAIN:
            return train.container(self)
        image = (await self._image(model)).loaded()
        return image if stage is Stage.IMAGE else images.bound(self, image, train.clips(self))

    @function
    async def notes(self, tag: Annotated[str, Doc("The git tag, such as v1.2.0")]) -> dagger.File:
        """The changelog's section about a tag: the text of its release. Fails where there is none."""
        run = self.release(["notes", "/CHANGELOG.md", "--tag", tag], {"/CHANGELOG.md": self.changelog})
        return dag.directory().with_new_file("notes.md", f"{await stdout(run)}\n").file("notes.md")

    @function
    async def doctor(self) -> str:
        """Check what the pipeline needs: mirrors, registry. A line each, with what to change."""
        return await checks.doctor(self)

    @function
    @check
    async def lint(self) -> str:
        """Code is clean under ruff."""
        return await checks.suite(self, "lint", ["ruff", "check", "."], ["ruff", "format", "--check", "."])

    @function
    @check
    async def workflows(self) -> str:
        """The workflows are clean under actionlint and zizmor (pedantic)."""
        # actionlint finds them by itself at the top of what looks like a repository.
        commands = ["mkdir", ".git"], ["actionlint"], ["zizmor", "--offline", "--persona=pedantic", ".github/workflows"]
        return await checks.suite(self, "lint", *commands, tool="actionlint")

    @function
    @check
    async def types(self) -> str:
        """Code is clean under mypy."""
        return await checks.suite(self, "dev", ["mypy"])

    @function
    @check
    async def unit_tests(self) -> str:
        """The tests that need no engine pass."""
        return await checks.suite(self, "dev", ["pytest", "-q", "--ignore=tests/e2e"])

    @function
    @check
    async def predict(self) -> str:
        """An image with a model trained quickly on the synthetic corpus answers /predict rightly."""
        self.dataset, self.dataset_folder, self.synthetic, self.profile = None, None, True, QUICK
        await checks.answers(self, (await self._image(None)).loaded(), train.clips(self), None)
        return "held"
