"""The module's graph, looked at without an engine: the client records calls, only awaited leaves would connect."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagger
import pytest
from dagger.client._core import Context

from .graph import chain

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "ci" / "src"))


@dataclass
class Engine:
    """Stands in for the engine: answers leaves from ``answers`` and records which were asked for, in order.

    ``exit_codes`` are of programs by a word of their command line; every other succeeds.
    """

    exit_codes: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any], Any]] = field(default_factory=list)

    def leaves(self, name: str) -> list[dict[str, Any]]:
        """The arguments of each leaf of that name."""
        return [arguments for asked, arguments, _ in self.asked if asked == name]

    def releases(self) -> list[tuple[list[str], Context]]:
        """Each command that published an image, with all that led to it."""
        steps = [(args["args"], context) for leaf, _, context in self.asked if leaf == "stdout"
                 for name, args in chain(context) if name == "withExec"]  # fmt: skip
        return [(command, context) for command, context in steps if "release" in command]

    def answer(self, context: Context) -> Any:
        leaf = context.selections[-1]
        self.asked.append((leaf.name, dict(leaf.args), context))
        command: list[str] = next(
            (step.args["args"] for step in reversed(context.selections) if step.name == "withExec"), []
        )
        if leaf.name == "stdout" and "tools.registry" in command:
            address = next(part.partition("=")[2] for part in command if part.startswith("--address="))
            return f"{address}@sha256:{'a' * 64}\n"
        if leaf.name == "exitCode":
            return next((code for word, code in self.exit_codes.items() if word in command), 0)
        answer = self.answers.get(leaf.name)
        return answer(leaf.args) if callable(answer) else answer


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine whose steps succeed unless a test sets ``answers`` otherwise."""
    stand_in = Engine(
        answers={
            "defaultPlatform": dagger.Platform("linux/amd64"),
            "imageRef": f"docker.io/library/python:3.13-slim@sha256:{'b' * 64}",
            "plaintext": "secret",
            "stdout": '{"min_clip_accuracy": 0.8, "max_p95_ms": null}',
            "entrypoint": ["serve"],
            "entries": [],
            "contents": '{"figures": {}}',
        }
    )

    async def execute(self: Context, return_type: Any = None) -> Any:
        return stand_in.answer(self)

    async def execute_sync(self: Context, parent: Any, field_name: str, *_: Any) -> Any:
        stand_in.asked.append((field_name, {}, parent._ctx))
        return parent

    monkeypatch.setattr(Context, "execute", execute)
    monkeypatch.setattr(Context, "execute_sync", execute_sync)
    return stand_in
