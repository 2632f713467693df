"""What `dagger check` runs beside the test of /predict."""

import dagger

from .environment import APP, Environment


async def lint(environment: Environment, checkout: dagger.Directory) -> str:
    """ruff over all Python, zizmor (pedantic, offline) over the workflows."""
    container = environment.with_groups("lint").with_directory(APP, checkout)
    return await (
        container.with_exec(["ruff", "check", "."])
        .with_exec(["ruff", "format", "--check", "."])
        .with_exec(["zizmor", "--offline", "--persona=pedantic", ".github/workflows"])
        .stdout()
    )


async def types(environment: Environment, checkout: dagger.Directory) -> str:
    """mypy over the application, the module and the tests."""
    return await environment.with_groups("dev").with_directory(APP, checkout).with_exec(["mypy"]).stdout()


async def unit_tests(environment: Environment, checkout: dagger.Directory) -> str:
    """pytest, less the tests that need an engine."""
    container = environment.with_groups("dev").with_directory(APP, checkout)
    return await container.with_exec(["pytest", "-q", "--ignore=tests/e2e"]).stdout()
