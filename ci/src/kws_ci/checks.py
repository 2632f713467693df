"""What `dagger check` runs beside the test of /predict."""

import dagger
from dagger import dag

from .environment import APP, Environment

WORKFLOWS = ".github/workflows"


async def lint(environment: Environment, checkout: dagger.Directory) -> str:
    """ruff over all Python: rules and form."""
    container = environment.with_groups("lint").with_directory(APP, checkout)
    return await container.with_exec(["ruff", "check", "."]).with_exec(["ruff", "format", "--check", "."]).stdout()


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
    await linted.sync()
    return f"actionlint: {len(names)} workflows\n{await audited.stdout()}"


async def types(environment: Environment, checkout: dagger.Directory) -> str:
    """mypy over the application, the module and the tests."""
    return await environment.with_groups("dev").with_directory(APP, checkout).with_exec(["mypy"]).stdout()


async def unit_tests(environment: Environment, checkout: dagger.Directory) -> str:
    """pytest, less the tests that need an engine."""
    container = environment.with_groups("dev").with_directory(APP, checkout)
    return await container.with_exec(["pytest", "-q", "--ignore=tests/e2e"]).stdout()
