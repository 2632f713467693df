"""What judges: the gates of a run, the scan of an image, the doctor, and the code's own checks."""

import json
import re
from typing import Annotated

import dagger
from dagger import Doc, ReturnType, dag, field, object_type

from .containers import APP, ARTIFACTS, Toolbox
from .image import ARCHIVE, Image, Tester
from .publish import Release
from .settings import Settings
from .steps import ProgramError, UserError, gather, stdout, uncached
from .train import BAD_INPUT

GATES, EXCEPTIONS, SBOM, DATABASE = "/gates.toml", "/osv-scanner.toml", "/sbom.cdx.json", "/osv"
RELEASE = ["python", "-m", "release"]
WORKFLOWS = ".github/workflows"
LINES = 25  # of a failed check that stand in the error itself; all of them are in the log
FAILED = "FAILED"


@object_type
class Scan:
    """What is known against what an image holds."""

    passed: Annotated[bool, Doc("It could be asked, and nothing with a fix was found")] = field()
    counts: Annotated[list[str], Doc("Vulnerabilities with a fix, as ID PACKAGE VERSION")] = field()
    error: Annotated[str, Doc("Why it could not be asked; then it has not passed")] = field()
    file: Annotated[dagger.File, Doc("osv.json")] = field()


@object_type
class Verdict:
    """The verdict of a run's gates."""

    passed: Annotated[bool, Doc("Every gate held")] = field()
    failed: Annotated[list[str], Doc("The gates that failed, as NAME: VALUE against BOUND")] = field()
    headline: Annotated[str, Doc("The first line of the report")] = field()


def described(kws: Settings, image: Image, model: dagger.Directory | None = None) -> dagger.Directory:
    """``image.json`` and ``sbom.cdx.json`` of an archive; ``model`` is the training's, for the model's card in it."""
    command = [*RELEASE, "sbom", ARCHIVE, "--output", "/image", "--platform", image.platforms[0]]
    container = Toolbox(kws).programs("syft").with_mounted_file(ARCHIVE, image.archive)
    if model is not None:
        container = container.with_mounted_directory(f"{ARTIFACTS}/model", model)
        command += ["--artifacts", ARTIFACTS]
    return container.with_exec(command).directory("/image")


async def scan(kws: Settings, sbom: dagger.File) -> Scan:
    """Ask for known vulnerabilities, each time anew; without a database of the caller's own, osv.dev."""
    command = [*RELEASE, "vulnerabilities", SBOM, "--config", EXCEPTIONS, "--output", "/osv.json"]
    container = Toolbox(kws).programs("osv-scanner").with_mounted_file(SBOM, sbom)
    container = container.with_mounted_file(EXCEPTIONS, kws.exceptions)
    if kws.vulnerability_database is not None:
        container = container.with_mounted_directory(DATABASE, kws.vulnerability_database)
        command += ["--database", DATABASE]
    asked = uncached(container).with_exec(command, expect=ReturnType.ANY)
    if (code := await asked.exit_code()) == BAD_INPUT:
        raise UserError((await asked.stderr()).strip())
    text = await asked.file("/osv.json").contents()
    found = json.loads(text)
    # The file by its content: the same answer as yesterday's judges nothing anew.
    return Scan(  # type: ignore[call-arg]  # object_type is no dataclass to mypy
        passed=code == 0,
        counts=[f"{each['id']} {each['package']} {each['version']}" for each in found.get("counts", [])],
        error=found.get("error", ""),
        file=dag.directory().with_new_file("osv.json", text).file("osv.json"),
    )


async def papers(kws: Settings, image: Image, model: dagger.Directory) -> dagger.Directory:
    """image.json, sbom.cdx.json and osv.json."""
    found = described(kws, image, model)
    return found.with_file("osv.json", (await scan(kws, found.file("sbom.cdx.json"))).file)


async def check_bounds(kws: Settings, bounds: list[str]) -> None:
    """Raise UserError on a bound that cannot be meant, before any work."""
    container = Toolbox(kws).programs().with_mounted_file(GATES, kws.gates_file)
    command = [*RELEASE, "bounds", "--gates", GATES, *(f"--bound={bound}" for bound in bounds)]
    try:
        await stdout(container.with_exec(command))
    except ProgramError as error:
        raise UserError(f"--bounds: {error}") from None


class Judge:
    """Judges artefacts, each time by the same bounds and beside the same last release, or the reason for none."""

    def __init__(self, kws: Settings, last: dagger.File | str, bounds: list[str] | None) -> None:
        self.container = Toolbox(kws).programs().with_mounted_file(GATES, kws.gates_file)
        self.command = [*RELEASE, "judge", ARTIFACTS, "--gates", GATES, *(f"--bound={each}" for each in bounds or [])]
        if isinstance(last, str):
            self.command += ["--no-last", last]
        else:
            self.container = self.container.with_mounted_file("/last.json", last)
            self.command += ["--last", "/last.json"]

    def over(self, artifacts: dagger.Directory, *more: str) -> dagger.Container:
        """Writes gates.json and report.md among the artefacts; exit code 3: a gate failed."""
        container = self.container.with_directory(ARTIFACTS, artifacts)
        return container.with_exec([*self.command, *more], expect=ReturnType.ANY)

    async def returned(self, judged: dagger.Container) -> dagger.Directory:
        """The artefacts with their verdict. Raises ProgramError where nobody could judge."""
        if await judged.exit_code() not in (0, 3):
            raise ProgramError((await judged.stderr()).strip() or "the judge ended without a word")
        return await judged.directory(ARTIFACTS).sync()


async def answers(
    kws: Settings, image: dagger.Container, clips: dagger.Directory, bounds: list[str] | None
) -> dagger.Directory:
    """What the test client finds, judged alone. Raises ProgramError, with a line a failed gate."""
    found = await Tester(kws).findings(image, clips)
    artifacts = dag.directory().with_directory("inference", found)
    parts = [f"--without={part}" for part in ("model", "image", "start")]
    judged = Judge(kws, "only /predict was tested", bounds).over(artifacts, *parts)
    if await judged.exit_code() != 0:
        raise ProgramError((await judged.stderr()).strip())
    return found


async def verdict(artifacts: dagger.Directory) -> Verdict:
    """The verdict in a run's gates.json. Raises UserError where there is none."""
    if not await artifacts.exists("gates.json"):
        raise UserError("--artifacts has no gates.json: give the folder that `pipeline` returned")
    found = json.loads(await artifacts.file("gates.json").contents())
    lines = {f"{gate['name']}: {gate['value']} against {gate['bound']}": gate["verdict"] for gate in found["gates"]}
    failed = [line for line, judged in lines.items() if judged == "failed"]
    return Verdict(passed=found["passed"], failed=failed, headline=found["headline"])  # type: ignore[call-arg]


async def gates(kws: Settings, artifacts: dagger.Directory, archive: dagger.File | None = None) -> str:
    """What was judged; ``archive`` must be its image. Raises ProgramError, with a line a failed gate, on a no."""
    container = Toolbox(kws).programs().with_mounted_directory(ARTIFACTS, artifacts)
    command = [*RELEASE, "verdict", ARTIFACTS]
    if archive is not None:
        container, command = container.with_mounted_file(ARCHIVE, archive), [*command, "--archive", ARCHIVE]
    return await stdout(container.with_exec(command), lines=LINES)


async def notes(kws: Settings, tag: str) -> dagger.File:
    """The changelog's section about a tag. Raises ProgramError where there is none."""
    container = Toolbox(kws).programs().with_mounted_file("/CHANGELOG.md", kws.changelog)
    text = await stdout(container.with_exec([*RELEASE, "notes", "/CHANGELOG.md", "--tag", tag]))
    return dag.directory().with_new_file("notes.md", f"{text}\n").file("notes.md")


async def doctor(kws: Settings) -> str:
    """A line a check, each made anew, from the containers' own network. Raises ProgramError where one failed."""
    release = Release(kws) if kws.address else None
    found = await gather(_engine(kws), _base(kws), _outside(kws), *([_registry(release)] if release else []))
    lines = "\n".join(found).splitlines()
    if failed := [line.split(maxsplit=1)[1].partition(":")[0] for line in lines if line.startswith(FAILED)]:
        raise ProgramError("\n".join([f"failed: {', '.join(failed)}", *lines]))
    return "\n".join(lines)


async def _engine(kws: Settings) -> str:
    version = await dag.version()
    asked = json.loads(await kws.checkout.file("dagger.json").contents())["engineVersion"]
    has, wants = ([int(part) for part in re.findall(r"\d+", text.partition("-")[0])] for text in (version, asked))
    said = f"engine: {version}, {await dag.default_platform()}"
    remedy = f"dagger.json asks for {asked}: install the command line and the engine of that version"
    return f"ok       {said}" if has == wants else f"{'warning' if has > wants else FAILED:<8} {said}; {remedy}"


async def _base(kws: Settings) -> str:
    try:
        return f"ok       base image: {await Toolbox(kws).base().image_ref()}"
    except dagger.QueryError as error:
        remedy = "--base-image names another, the engine's settings a mirror of docker.io (docs/offline.md)"
        return f"{FAILED:<8} base image: {kws.base_image}: {_last(error)}; {remedy}"


async def _outside(kws: Settings) -> str:
    mirrors = {"package-index": kws.package_index, "torch-index": kws.torch_index, "dataset-url": kws.dataset_url}
    options = [f"--{name}={address}" for name, address in mirrors.items() if address]
    container = Toolbox(kws).base().with_directory(f"{APP}/tools", kws.tools_source).with_workdir(APP)
    try:
        asked = uncached(container).with_exec(["python", "-m", "tools.doctor", *options], expect=ReturnType.ANY)
        if await asked.exit_code() in (0, 3):
            return (await asked.stdout()).strip()
        return f"{FAILED:<8} network: {(await asked.stderr()).strip().splitlines()[-1]}"
    except dagger.QueryError as error:
        return f"skipped  network: it is looked at from the base image ({_last(error)})"


async def _registry(release: Release) -> str:
    try:
        await release.check_push()
        latest = await release.digest("latest")
    except (ProgramError, dagger.QueryError) as error:
        return f"{FAILED:<8} registry: {_last(error)}"
    pull = f"ok       pull: latest is {latest}" if latest else "skipped  pull: nothing is published as latest yet"
    return f"ok       push: a blob was pushed to {release.address}, which nothing names\n{pull}"


def _last(error: Exception) -> str:
    return [line.strip() for line in str(error).splitlines() if line.strip()][-1]


async def suite(kws: Settings, group: str, *commands: list[str]) -> str:
    """Commands over the whole checkout, with a group's dependencies."""
    container = Toolbox(kws).installed(group).with_directory(APP, kws.checkout)
    for command in commands:
        container = container.with_exec(command)
    return await stdout(container, lines=LINES)


async def workflows(kws: Settings) -> str:
    """actionlint and zizmor (pedantic, offline) over the workflows."""
    toolbox = Toolbox(kws)
    names = [name for name in await kws.checkout.directory(WORKFLOWS).entries() if name.endswith((".yml", ".yaml"))]
    container = toolbox.with_tools(toolbox.installed("lint"), "actionlint").with_directory(APP, kws.checkout)
    container = container.with_exec(["actionlint", *(f"{WORKFLOWS}/{name}" for name in names)])
    return await stdout(container.with_exec(["zizmor", "--offline", "--persona=pedantic", WORKFLOWS]), lines=LINES)
