"""The spans that a run shows in the trace."""

from __future__ import annotations

from typing import Any

import pytest
from dagger.client._core import Context
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from .conftest import Engine
from .graph import chain
from .test_graph import module

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


async def test_the_pipelines_steps_are_spans_in_their_order(engine: Engine, spans: InMemorySpanExporter) -> None:
    await module().pipeline(synthetic=True, address="ghcr.io/me/name")
    found = [span.name for span in spans.get_finished_spans()]
    assert set(found) == {
        *("last release", "train", "build", "seal", "SBOM", "test /predict", "audit", "judge", "publish"),
        "pull back and test",
    }
    order = ["last release", "train", "build", "test /predict", "audit", "judge", "publish", "pull back and test"]
    assert [name for name in found if name in order] == order


async def test_the_work_is_asked_for_inside_its_span(
    engine: Engine, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = []
    sync = Context.execute_sync

    async def noted(self: Context, parent: Any, *rest: Any) -> Any:
        if any("train" in args.get("args", []) for _, args in chain(parent)):
            inside.append(trace.get_current_span().name)  # type: ignore[attr-defined]
        return await sync(self, parent, *rest)

    monkeypatch.setattr(Context, "execute_sync", noted)
    await module().pipeline(synthetic=True)
    assert inside[0] == "train"


async def test_without_telemetry_the_step_is_awaited_all_the_same() -> None:
    from kws_ci.trace import span

    async def step() -> int:
        return 7

    assert await span("step", step()) == 7
