"""What judges: the gates of a run, the scan of an image, the doctor, and the code's own checks."""

import json
from collections.abc import Awaitable
from typing import Annotated

import dagger
from dagger import Doc, ReturnType, dag, field, object_type

from . import image as images
from .containers import APP, ARTIFACTS, Toolbox
from .image import ARCHIVE, Image
from .publish import Releases
from .settings import options
from .steps import BAD_INPUT, FAILED, ProgramError, UserError, gather, stdout, uncached

GATES, EXCEPTIONS, SBOM, DATABASE = "/gates.toml", "/osv-scanner.toml", "/sbom.cdx.json", "/osv"


@object_type
class Verdict:
    """What was judged, for a caller that decides by it."""

    passed: Annotated[bool, Doc("All that was asked held")] = field()
    failed: Annotated[list[str], Doc("What did not, or why it could not be asked, a line each")] = field()
    headline: Annotated[str, Doc("The verdict in a line")] = field()
    file: Annotated[dagger.File, Doc("The findings: gates.json or osv.json")] = field()

    def held(self) -> str:
        """The headline. Raises ProgramError, with a line for each that failed, where one did."""
        if not self.passed:
            raise ProgramError("\n".join(self.failed))
        return self.headline


async def _verdict(run: dagger.Container, path: str) -> Verdict:
    """What a program judged; where it could not judge, that has not passed, and its words say why."""
    code, said = await run.exit_code(), (await run.stderr()).strip()
    text, name = await run.file(path).contents(), path.rpartition("/")[2]
    failed = (said or f"ended with exit code {code} without a word").splitlines() if code else []
    headline = json.loads(text).get("headline") or (await run.stdout()).strip()
    # The file by its content: the same answer as yesterday's judges nothing anew.
    file = dag.directory().with_new_file(name, text).file(name)
    return Verdict(passed=code == 0, failed=failed, headline=headline, file=file)  # type: ignore[call-arg]


def described(kws: Toolbox, image: Image, model: dagger.Directory | None = None) -> dagger.Directory:
    """``image.json`` and ``sbom.cdx.json`` of an archive; ``model`` is the training's, for the model's card in it."""
    files = {ARCHIVE: image.archive, **({f"{ARTIFACTS}/model": model} if model else {})}
    command = ["sbom", ARCHIVE, "--output", "/image", "--platform", image.platforms[0], "--artifacts", ARTIFACTS]
    return kws.release(command, files, kws.programs("syft")).directory("/image")


async def scan(kws: Toolbox, sbom: dagger.File) -> Verdict:
    """Ask for known vulnerabilities, each time anew; without a database of the caller's own, osv.dev."""
    database = {DATABASE: kws.vulnerability_database} if kws.vulnerability_database else {}
    command = ["vulnerabilities", SBOM, "--config", EXCEPTIONS, "--output", "/osv.json"]
    command += [f"--database={path}" for path in database]
    files, scanner = {SBOM: sbom, EXCEPTIONS: kws.exceptions, **database}, uncached(kws.programs("osv-scanner"))
    return await _verdict(kws.release(command, files, scanner, expect=ReturnType.ANY), "/osv.json")


class Judge:
    """Judges artefacts, each time by the same bounds and beside the same last release, or the reason for none."""

    def __init__(self, kws: Toolbox, bounds: list[str] | None, last: dagger.File | str) -> None:
        self.kws, self.last = kws, last
        self.bounds = ["--gates", GATES, *(f"--bound={each}" for each in bounds or [])]

    async def check(self) -> None:
        """Raise UserError on a bound that is no bound, before any work."""
        try:
            await stdout(self.kws.release(["bounds", *self.bounds], {GATES: self.kws.gates_file}))
        except ProgramError as error:
            raise UserError(f"--bounds: {error}") from None

    async def over(self, artifacts: dagger.Directory, *more: str) -> tuple[str, dagger.Directory]:
        """The gates that failed, and the artefacts with gates.json and report.md. ProgramError: nobody could judge."""
        given = isinstance(self.last, dagger.File)
        last = ["--last", "/last.json"] if given else ["--no-last", str(self.last)]
        files = {GATES: self.kws.gates_file, **({"/last.json": self.last} if given else {}), ARTIFACTS: artifacts}
        judged = self.kws.release(["judge", ARTIFACTS, *self.bounds, *last, *more], files, expect=ReturnType.ANY)
        code, said = await judged.exit_code(), (await judged.stderr()).strip() or "the judge ended without a word"
        if code not in (0, FAILED):
            raise ProgramError(said)
        return said if code else "", await judged.directory(ARTIFACTS).sync()


async def answers(
    kws: Toolbox, image: dagger.Container, clips: dagger.Directory, bounds: list[str] | None
) -> dagger.Directory:
    """What the test client finds, judged alone. Raises ProgramError, with a line a failed gate."""
    found = dag.directory().with_directory("inference", await images.findings(kws, image, clips))
    parts = [f"--without={part}" for part in ("model", "image")]
    failed, judged = await Judge(kws, bounds, "only /predict was tested").over(found, *parts)
    if failed:
        raise ProgramError(failed)
    return judged.directory("inference")


async def verdict(kws: Toolbox, artifacts: dagger.Directory, archive: dagger.File | None = None) -> Verdict:
    """The verdict in a run's gates.json; ``archive`` must be its image. Raises UserError where there is none."""
    image = {ARCHIVE: archive} if archive else {}
    command = ["verdict", ARTIFACTS, *(f"--archive={path}" for path in image)]
    run = kws.release(command, {ARTIFACTS: artifacts, **image}, expect=ReturnType.ANY)
    if await run.exit_code() == BAD_INPUT:
        raise UserError((await run.stderr()).strip())
    return await _verdict(run, f"{ARTIFACTS}/gates.json")


async def doctor(kws: Toolbox) -> str:
    """A line a check, each made anew, from the containers' own network. Raises ProgramError where one failed."""
    checks = [_line("engine", dag.version()), _line("network", _outside(kws))]
    checks += [_line("base image", kws.base().image_ref(), "; --base-image names another, docs/offline.md a mirror")]
    if kws.address:
        release = Releases(settings=kws)  # type: ignore[call-arg]  # object_type is no dataclass to mypy
        checks += [_line("push", release.check()), _line("latest", release.digest("latest"))]
    lines = "\n".join(await gather(*checks)).splitlines()
    if failed := [line.split(maxsplit=1)[1].partition(":")[0] for line in lines if line.startswith("FAILED")]:
        raise ProgramError("\n".join([f"failed: {', '.join(failed)}", *lines]))
    return "\n".join(lines)


async def _line(name: str, step: Awaitable[str], remedy: str = "") -> str:
    try:
        return f"ok       {name}: {await step or 'nothing yet'}"
    except (ProgramError, dagger.QueryError) as error:
        return f"FAILED   {name}: {str(error).strip().splitlines()[-1].strip()}{remedy}"


async def _outside(kws: Toolbox) -> str:
    asked = options(package_index=kws.package_index, torch_index=kws.torch_index, dataset_url=kws.dataset_url)
    asked += [f"--vulnerability-source={'' if kws.vulnerability_database else 'https://api.osv.dev'}"]
    container = uncached(kws.base().with_directory(f"{APP}/tools", kws.tools_source).with_workdir(APP))
    run = container.with_exec(["python", "-m", "tools.doctor", *asked], expect=ReturnType.ANY)
    if await run.exit_code() not in (0, FAILED):
        raise ProgramError((await run.stderr()).strip() or "the doctor ended without a word")
    return f"as a container sees it\n{(await run.stdout()).strip()}"


async def suite(kws: Toolbox, group: str, *commands: list[str], tool: str = "") -> str:
    """Commands over the whole checkout, with a group's dependencies, and a tool beside them."""
    container = kws.with_tools(kws.installed(group), *filter(None, [tool])).with_directory(APP, kws.checkout)
    for command in commands:
        container = container.with_exec(command)
    return await stdout(container, lines=25)  # of a failed check in the error itself; all of them are in the log
