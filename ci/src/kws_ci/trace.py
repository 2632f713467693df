"""Named spans of the module's own in the trace; without telemetry they are nothing."""

from collections.abc import Awaitable
from typing import TypeVar

from opentelemetry import trace

_Result = TypeVar("_Result")


async def span(name: str, step: Awaitable[_Result]) -> _Result:
    """Await a step within a span of that name. Work is lazy: it stands under the first that awaits it."""
    with trace.get_tracer(__name__).start_as_current_span(name):
        return await step
