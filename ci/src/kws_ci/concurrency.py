"""Independent steps side by side."""

from collections.abc import Awaitable
from typing import Any

import anyio

from .errors import plainly


async def together(*steps: Awaitable[Any]) -> list[Any]:
    """Await all steps at once; returns their results in order.

    The first failure cancels the others and is raised bare: inside an exception group a user would see
    "unhandled errors in a TaskGroup" instead of what went wrong.
    """
    results: list[Any] = [None] * len(steps)

    async def keep(position: int, step: Awaitable[Any]) -> None:
        results[position] = await plainly(step)

    try:
        async with anyio.create_task_group() as tasks:
            for position, step in enumerate(steps):
                tasks.start_soon(keep, position, step)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return results
