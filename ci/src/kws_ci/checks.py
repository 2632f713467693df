"""What `dagger check` runs beside the test of /predict."""

import dagger
from dagger import dag

from .environment import APP, Environment
from .errors import ProgramError

WORKFLOWS = ".github/workflows"
_LINES = 25  # of a failed check that stand in the error itself; all of them are in the log


async def _passed(container: dagger.Container) -> str:
    """What a check printed. Raises ProgramError with its last lines where it failed."""
    try:
        return await container.stdout()
    except dagger.ExecError as error:
        lines = f"{error.stdout}\n{error.stderr}".strip().splitlines()
        raise ProgramError("\n".join(lines[-_LINES:])) from None


async def lint(environment: Environment, checkout: dagger.Directory) -> str:
    """ruff over all Python: rules and form."""
    container = environment.with_groups("lint").with_directory(APP, checkout)
    return await _passed(container.with_exec(["ruff", "check", "."]).with_exec(["ruff", "format", "--check", "."]))


async def workflows(environment: Environment, checkout: dagger.Directory, actionlint: str) -> str:
    """actionlint and zizmor (pedantic, offline) over the workflows."""
    names = [name for name in await checkout.directory(WORKFLOWS).entries() if name.endswith((".yml", ".yaml"))]
    linted = (
        dag.container()
        .from_(actionlint)
        .with_directory(f"/checkout/{WORKFLOWS}", checkout.directory(WORKFLOWS))
        .with_workdir("/checkout")
        .with_exec(["actionlint", *(f"{WORKFLOWS}/{name}" for name in names)])
    )
    audited = (
        environment.with_groups("lint")
        .with_directory(APP, checkout)
        .with_exec(["zizmor", "--offline", "--persona=pedantic", ".github"])
    )
    await _passed(linted)
    return f"actionlint: {len(names)} workflows\n{await _passed(audited)}"


async def types(environment: Environment, checkout: dagger.Directory) -> str:
    """mypy over the application, the module and the tests."""
    return await _passed(environment.with_groups("dev").with_directory(APP, checkout).with_exec(["mypy"]))


async def unit_tests(environment: Environment, checkout: dagger.Directory) -> str:
    """pytest, less the tests that need an engine."""
    container = environment.with_groups("dev").with_directory(APP, checkout)
    return await _passed(container.with_exec(["pytest", "-q", "--ignore=tests/e2e"]))
