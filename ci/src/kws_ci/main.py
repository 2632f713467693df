"""The module's functions: thin, each a composition of the stages."""

from enum import Enum
from typing import Annotated

import dagger
from dagger import Doc, check, enum_type, function, object_type

from . import checks
from . import pipeline as pipelines
from . import sweep as sweeps
from .containers import Toolbox
from .image import Builder, Image, Tester
from .publish import Release, Releases
from .settings import Settings
from .steps import ProgramError, UserError
from .train import QUICK, Trainer

ModelFile = Annotated[dagger.File | None, Doc("model.onnx of an earlier training; without it a model is trained first")]
Tags = Annotated[
    list[str] | None, Doc("Tags to publish under (default: commit, branch and version; latest from the default branch)")
]
Bounds = Annotated[list[str] | None, Doc("Bounds in place of those of gates.toml: NAME=VALUE; false: no such gate")]
Artifacts = Annotated[dagger.Directory, Doc("What `pipeline` returned")]
Sbom = Annotated[dagger.File | None, Doc("sbom.cdx.json, such as a release's attested one (default: one is made)")]


@enum_type
class Stage(Enum):
    """A stage whose container can be entered."""

    TRAIN = "train"
    """`python -m model`, the data set in place"""
    IMAGE = "image"
    """the inference image, as its numeric user"""
    TEST = "test"
    """`python -m service.test_client`, the service at http://api:8000, recordings in /clips"""
    RELEASE = "release"
    """`python -m release`, regctl, syft, osv-scanner and cosign"""


@object_type
class Kws(Settings):
    """Train, build, test and publish an audio keyword classifier."""

    @function
    async def train(self) -> dagger.Directory:
        """Train the model: best_model.pth, model.onnx, train.log, train_metrics.json, evaluation.json, report.md, …"""
        model = await Trainer(self).trained()
        if model.error:
            raise ProgramError(model.error)
        return model.folder

    @function
    def clips(self) -> dagger.Directory:
        """Labelled recordings of the test split, a folder a label."""
        return Trainer(self).clips()

    # Private: what is decorated cannot be called from here, to mypy (dagger/dagger#3701).
    async def _image(self, model: dagger.File | None) -> Image:
        return await Builder(self).image(await Trainer(self).onnx(model))

    async def _scan(self, sbom: dagger.File | None, model: dagger.File | None) -> checks.Scan:
        sbom = sbom or checks.described(self, await self._image(model)).file("sbom.cdx.json")
        return await checks.scan(self, sbom)

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
    async def scan(self, sbom: Sbom = None, model: ModelFile = None) -> checks.Scan:
        """Ask for the known vulnerabilities of what is inside an image: an object with `passed`, `counts`, `error`."""
        return await self._scan(sbom, model)

    @function
    async def audit(self, sbom: Sbom = None, model: ModelFile = None) -> str:
        """Fail, with a line each, where an image holds a known vulnerability with a fix, or nobody could be asked."""
        found = await self._scan(sbom, model)
        if not found.passed:
            raise ProgramError("\n".join([*found.counts, *filter(None, [found.error])]))
        return "no vulnerability with a fix is known"

    @function
    async def test_predict(
        self,
        image: Annotated[dagger.Container | None, Doc("The image to test (default: one is built)")] = None,
        reference: Annotated[str, Doc("A tag or digest at the address, to pull and test")] = "",
        clips: Annotated[dagger.Directory | None, Doc("Labelled recordings (default: of the test split)")] = None,
        model: ModelFile = None,
        bounds: Bounds = None,
    ) -> dagger.Directory:
        """Start an image and test its /predict: response.json, inference_metrics.json. Fails where a gate does."""
        if image is not None and reference:
            raise UserError("--image and --reference exclude each other: give one")
        if reference:
            release = Release(self)
            image = await release.pulled(await release.existing(reference))
        image = image or (await self._image(model)).loaded()
        return await checks.answers(self, image, clips or Trainer(self).clips(), bounds)

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
        """The whole way: train, build, test, judge, and with an address publish, pull back, test again, sign, tag.

        Returns every artefact, also when a gate or the training failed; then no tag is moved. `gates` turns the
        verdict into an exit code.
        """
        return await pipelines.run(self, bounds, last_release, publish, tags)

    @function
    async def publish(
        self,
        artifacts: Annotated[dagger.Directory | None, Doc("What `pipeline` returned: its image, judged")] = None,
        model: ModelFile = None,
        tags: Tags = None,
    ) -> str:
        """Publish an image; prints its digest reference. Only one that held its gates may become latest."""
        if artifacts is not None and model is not None:
            raise UserError("--artifacts and --model exclude each other: give one")
        return await pipelines.publish(self, artifacts, model, tags)

    @function
    def releases(self) -> Releases:
        """What has been released to the address: verify, attestations, promote, rollback."""
        Release(self)  # what cannot work is named here
        return Releases(settings=self)  # type: ignore[call-arg]  # object_type is no dataclass to mypy

    @function
    async def gates(self, artifacts: Artifacts) -> str:
        """Fail, with a line a failed gate, where the pipeline's verdict was no."""
        return await checks.gates(self, artifacts)

    @function
    async def verdict(self, artifacts: Artifacts) -> checks.Verdict:
        """The verdict as an object with `passed`, `failed` and `headline`, for a caller that decides by it."""
        return await checks.verdict(artifacts)

    @function
    async def sweep(
        self,
        seeds: Annotated[list[int] | None, Doc("Seeds to train with (default: 0, 1, 2)")] = None,
        settings: Annotated[list[str] | None, Doc("Each NAME=VALUE pairs apart by spaces: width=2 dropout=0.1")] = None,
        parallel: Annotated[int, Doc("Trainings at a time; each takes all processors it gets")] = 2,
    ) -> sweeps.Sweep:
        """Train with several seeds and settings side by side; the validation split chooses the best.

        A run that fails has its reason in the table and sinks no other.
        """
        trials = sweeps.trials([0, 1, 2] if seeds is None else seeds, settings or [])
        return await sweeps.run(Trainer(self), trials, parallel)

    @function
    async def shell(
        self, stage: Annotated[Stage, Doc("Whose container")] = Stage.TRAIN, model: ModelFile = None
    ) -> dagger.Container:
        """A stage's container with its data in place: `dagger call --synthetic shell --stage=TRAIN terminal`."""
        if stage is Stage.RELEASE:
            return Toolbox(self).programs("regctl", "syft", "osv-scanner", "cosign")
        if stage is Stage.TRAIN:
            return Trainer(self).container()
        image = (await self._image(model)).loaded()
        return image if stage is Stage.IMAGE else Tester(self).bound(image, Trainer(self).clips())

    @function
    async def notes(self, tag: Annotated[str, Doc("The git tag, such as v1.2.0")]) -> dagger.File:
        """The changelog's section about a tag: the text of its release. Fails where there is none."""
        return await checks.notes(self, tag)

    @function
    async def doctor(self) -> str:
        """Check what the pipeline needs: engine, mirrors, registry. A line each, with what to change."""
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
        return await checks.workflows(self)

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
        await checks.answers(self, (await self._image(None)).loaded(), Trainer(self).clips(), None)
        return "held"
