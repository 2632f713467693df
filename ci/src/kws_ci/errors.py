"""What a user sees of a program that failed: its own words, not how it was run."""

from collections.abc import Awaitable
from typing import TypeVar

import dagger

_Result = TypeVar("_Result")


async def plainly(step: Awaitable[_Result]) -> _Result:
    """Await a step; where a program in it failed, its last line alone is raised (the log has all of them)."""
    try:
        return await step
    except dagger.ExecError as error:
        lines = error.stderr.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else str(error)) from None


async def said(container: dagger.Container) -> str:
    """What a program printed."""
    return (await plainly(container.stdout())).strip()
