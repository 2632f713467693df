"""Awaiting steps: side by side, in a named span, and with the failed program's own words."""

import asyncio
import uuid
from collections.abc import Awaitable
from functools import partial
from typing import Any

import dagger
from dagger import ReturnType
from dagger.mod._exceptions import FunctionError  # not public; the one kind that is shown without a traceback
from opentelemetry import trace

BAD_INPUT, FAILED, SIGNAL = 2, 3, 128  # exit codes; above the last it was killed and could not say so
# A function whose answer is kept for its session; without a word the engine keeps it for a week.
function: Any = partial(dagger.function, cache="session")


class UserError(FunctionError, ValueError):
    """A bad argument: one line that names it and the remedy."""

    __module__ = "builtins"  # which the SDK leaves out of what it shows


class ProgramError(FunctionError, RuntimeError):
    """A program or a service that failed, in its own words."""

    __module__ = "builtins"


async def plain(step: Awaitable[Any], *, lines: int = 1) -> Any:
    """Await a step. Raises ProgramError with the last lines of a program that failed in it."""
    try:
        return await step
    except dagger.ExecError as error:
        said = f"{error.stdout}\n{error.stderr}" if lines > 1 else error.stderr
        raise ProgramError("\n".join(said.strip().splitlines()[-lines:]) or str(error)) from None


async def stdout(container: dagger.Container, *, lines: int = 1) -> str:
    """What the container's last program printed."""
    return str(await plain(container.stdout(), lines=lines)).strip()


async def gather(*steps: Awaitable[Any]) -> list[Any]:
    """Await all steps at once; the first failure is raised bare, not in a group, in the failed program's words."""
    return list(await asyncio.gather(*map(plain, steps)))


async def span(name: str, step: Awaitable[Any]) -> Any:
    """Await a step within a span of that name in the trace. Work is lazy: it stands under the first that awaits it."""
    with trace.get_tracer(__name__).start_as_current_span(name):
        return await step


def uncached(container: dagger.Container) -> dagger.Container:
    """From here on every call runs anew: it asks the outside, where yesterday's answer does not count."""
    return container.with_env_variable("KWS_RUN", uuid.uuid4().hex)


async def settled(container: dagger.Container, command: list[str]) -> dagger.Container:
    """Run a command whose failure is a finding; one that failed is run once more, so that no cache answers with it."""
    done = container.with_exec(command, expect=ReturnType.ANY)
    if await done.exit_code() == 0:
        return done
    return uncached(container).with_exec(command, expect=ReturnType.ANY)
