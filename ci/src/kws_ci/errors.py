"""What a user sees of an error: what to change, or the failed program's own words."""

from collections.abc import Awaitable
from typing import TypeVar

import dagger

# The one kind that the SDK shows without a traceback; it has no public name.
from dagger.mod._exceptions import FunctionError

_Result = TypeVar("_Result")


class UserError(FunctionError, ValueError):
    """An argument that cannot be meant: one line that names it and the remedy."""

    __module__ = "builtins"  # which the SDK leaves out of what it shows


class ProgramError(FunctionError, RuntimeError):
    """A program or a service that failed, in its own words."""

    __module__ = "builtins"


async def plainly(step: Awaitable[_Result], *, whole: bool = False) -> _Result:
    """Await a step; where a program in it failed, its last line of stderr is raised, or all of them."""
    try:
        return await step
    except dagger.ExecError as error:
        lines = error.stderr.strip().splitlines()
        raise ProgramError("\n".join(lines if whole else lines[-1:]) or str(error)) from None


async def said(container: dagger.Container, *, whole: bool = False) -> str:
    """What a program printed."""
    return (await plainly(container.stdout(), whole=whole)).strip()
