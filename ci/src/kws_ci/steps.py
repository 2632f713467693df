"""Awaiting steps: side by side, in a named span, and with the failed program's own words."""

import uuid
from collections.abc import Awaitable
from typing import Any, TypeVar

import anyio
import dagger
from dagger import ReturnType

# The one kind that the SDK shows without a traceback; it has no public name.
from dagger.mod._exceptions import FunctionError
from opentelemetry import trace

_Result = TypeVar("_Result")


class UserError(FunctionError, ValueError):
    """An argument that cannot be meant: one line that names it and the remedy."""

    __module__ = "builtins"  # which the SDK leaves out of what it shows


class ProgramError(FunctionError, RuntimeError):
    """A program or a service that failed, in its own words."""

    __module__ = "builtins"


async def plain(step: Awaitable[_Result], *, lines: int = 1) -> _Result:
    """Await a step. Raises ProgramError with the last lines of a program that failed in it."""
    try:
        return await step
    except dagger.ExecError as error:
        said = f"{error.stdout}\n{error.stderr}" if lines > 1 else error.stderr
        raise ProgramError("\n".join(said.strip().splitlines()[-lines:]) or str(error)) from None


async def stdout(container: dagger.Container, *, lines: int = 1) -> str:
    """What the container's last program printed."""
    return (await plain(container.stdout(), lines=lines)).strip()


async def gather(*steps: Awaitable[Any]) -> list[Any]:
    """Await all steps at once; returns their results in order.

    The first failure cancels the others and is raised bare: inside an exception group a user would see
    "unhandled errors in a TaskGroup" instead of what went wrong.
    """
    results: list[Any] = [None] * len(steps)

    async def keep(position: int, step: Awaitable[Any]) -> None:
        results[position] = await plain(step)

    try:
        async with anyio.create_task_group() as tasks:
            for position, step in enumerate(steps):
                tasks.start_soon(keep, position, step)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return results


async def span(name: str, step: Awaitable[_Result]) -> _Result:
    """Await a step within a span of that name in the trace. Work is lazy: it stands under the first that awaits it."""
    with trace.get_tracer(__name__).start_as_current_span(name):
        return await step


def uncached(container: dagger.Container) -> dagger.Container:
    """What runs from here on runs in every call: it asks the outside, whose answer of yesterday is none."""
    return container.with_env_variable("KWS_RUN", uuid.uuid4().hex)


async def settled(container: dagger.Container, command: list[str]) -> dagger.Container:
    """Run a command whose failure is a finding; one that failed is run once more, so that no cache answers with it."""
    done = container.with_exec(command, expect=ReturnType.ANY)
    if await done.exit_code() == 0:
        return done
    return uncached(container).with_exec(command, expect=ReturnType.ANY)
