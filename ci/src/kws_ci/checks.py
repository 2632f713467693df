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
from .train import BAD_INPUT, options

GATES, EXCEPTIONS, SBOM, DATABASE = "/gates.toml", "/osv-scanner.toml", "/sbom.cdx.json", "/osv"
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
    toolbox, files = Toolbox(kws), {ARCHIVE: image.archive, **({f"{ARTIFACTS}/model": model} if model else {})}
    command = ["sbom", ARCHIVE, "--output", "/image", "--platform", image.platforms[0], "--artifacts", ARTIFACTS]
    return toolbox.release(command, files, toolbox.programs("syft")).directory("/image")


async def scan(kws: Settings, sbom: dagger.File) -> Scan:
    """Ask for known vulnerabilities, each time anew; without a database of the caller's own, osv.dev."""
    toolbox, database = Toolbox(kws), kws.vulnerability_database
    files = {SBOM: sbom, EXCEPTIONS: kws.exceptions, **({DATABASE: database} if database else {})}
    command = ["vulnerabilities", SBOM, "--config", EXCEPTIONS, "--output", "/osv.json"]
    command += ["--database", DATABASE] if database else []
    asked = toolbox.release(command, files, uncached(toolbox.programs("osv-scanner")), ReturnType.ANY)
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
    """The archive with image.json, sbom.cdx.json and osv.json."""
    found = described(kws, image, model).with_file("inference_image.tar", image.archive)
    return found.with_file("osv.json", (await scan(kws, found.file("sbom.cdx.json"))).file)


class Judge:
    """Judges artefacts, each time by the same bounds and beside the same last release, or the reason for none."""

    def __init__(self, kws: Settings, bounds: list[str] | None, last: dagger.File | str = "") -> None:
        self.toolbox, self.last, self.gates = Toolbox(kws), last, {GATES: kws.gates_file}
        self.bounds = ["--gates", GATES, *(f"--bound={each}" for each in bounds or [])]

    async def check(self) -> None:
        """Raise UserError on a bound that cannot be meant, before any work."""
        try:
            await stdout(self.toolbox.release(["bounds", *self.bounds], self.gates))
        except ProgramError as error:
            raise UserError(f"--bounds: {error}") from None

    def over(self, artifacts: dagger.Directory, *more: str) -> dagger.Container:
        """Writes gates.json and report.md among the artefacts; exit code 3: a gate failed."""
        given = isinstance(self.last, dagger.File)
        files = {**self.gates, **({"/last.json": self.last} if isinstance(self.last, dagger.File) else {})}
        last = ["--last", "/last.json"] if given else ["--no-last", str(self.last)]
        container = self.toolbox.programs().with_directory(ARTIFACTS, artifacts)
        return self.toolbox.release(["judge", ARTIFACTS, *self.bounds, *last, *more], files, container, ReturnType.ANY)

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
    parts = [f"--without={part}" for part in ("model", "image", "start")]
    judge = Judge(kws, bounds, "only /predict was tested")
    judged = judge.over(dag.directory().with_directory("inference", found), *parts)
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
    files = {ARTIFACTS: artifacts, **({ARCHIVE: archive} if archive else {})}
    command = ["verdict", ARTIFACTS, *(["--archive", ARCHIVE] if archive else [])]
    return await stdout(Toolbox(kws).release(command, files), lines=LINES)


async def notes(kws: Settings, tag: str) -> dagger.File:
    """The changelog's section about a tag. Raises ProgramError where there is none."""
    run = Toolbox(kws).release(["notes", "/CHANGELOG.md", "--tag", tag], {"/CHANGELOG.md": kws.changelog})
    return dag.directory().with_new_file("notes.md", f"{await stdout(run)}\n").file("notes.md")


async def doctor(kws: Settings) -> str:
    """A line a check, each made anew, from the containers' own network. Raises ProgramError where one failed."""
    release = Release(kws) if kws.address else None
    found = await gather(_engine(kws), _outside(kws), *([_registry(release)] if release else []))
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


async def _outside(kws: Settings) -> str:
    toolbox = Toolbox(kws)
    asked = options(package_index=kws.package_index, torch_index=kws.torch_index, dataset_url=kws.dataset_url)
    asked += [f"--vulnerability-source={'' if kws.vulnerability_database else 'https://api.osv.dev'}"]
    try:
        base = f"ok       base image: {await toolbox.base().image_ref()}"
        container = uncached(toolbox.base().with_directory(f"{APP}/tools", kws.tools_source).with_workdir(APP))
        run = container.with_exec(["python", "-m", "tools.doctor", *asked], expect=ReturnType.ANY)
        if await run.exit_code() in (0, 3):
            return f"{base}\n{(await run.stdout()).strip()}"
        return f"{base}\n{FAILED:<8} network: {(await run.stderr()).strip().splitlines()[-1]}"
    except dagger.QueryError as error:
        remedy = "--base-image names another, the engine's settings a mirror of docker.io (docs/offline.md)"
        return f"{FAILED:<8} base image: {kws.base_image}: {_last(error)}; {remedy}"


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
