"""The module's graph, looked at without an engine: the client records calls, only awaited leaves would connect."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagger
import pytest
from dagger import dag
from dagger._exceptions import QueryErrorValue
from dagger.client._core import Context
from gql import GraphQLRequest

from .graph import chain, everything, marked

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "ci" / "src"))

MODEL_DIGEST = f"sha256:{'e' * 64}"
DIGEST, BASE = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
SOURCES = ("dependencies", "kws_source", "model_source", "service_source", "release_source", "tools_source", "checkout")
FILES = {"gates_file": "gates.toml", "exceptions": "osv-scanner.toml", "changelog": "CHANGELOG.md"}
Ended = tuple[int, str, str]  # exit code, stdout, stderr
MODEL = {"sha256": "c" * 64, "version": "v", "data_digest": "d"}


def settings(**given: Any) -> Any:
    """The module with the constructor's arguments given, and sources that can be told apart."""
    from kws_ci.main import Kws

    sources = {name: marked(name) for name in (*SOURCES, "git")}
    return Kws(**sources, **{name: marked(name).file(path) for name, path in FILES.items()}, **given)


def query_error(message: str, **found: Any) -> dagger.QueryError:
    return dagger.QueryError([QueryErrorValue(message, extensions=found)], GraphQLRequest("{a}"))


@dataclass
class Engine:
    """Stands in for the engine: every program succeeds, unless ``programs`` says otherwise by words of its command.

    ``files`` has the contents of files by the end of their path. ``asked`` are the leaves in their order.
    """

    programs: dict[str, Ended | Callable[[list[str]], Ended]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    _ran: list[list[str]] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def ran(self) -> list[list[str]]:
        """Every command that was run, in the order in which it was first asked for."""
        return self._ran

    def forget(self) -> None:
        """Begin anew."""
        self.asked.clear()
        self._ran.clear()
        self._seen.clear()

    def ask(self, leaf: str, context: Any) -> None:
        """Note a leaf, and what runs for it; fail where a step of it does."""
        self.asked.append((leaf, context))
        new = [args["args"] for name, args in everything(context, self._seen) if name == "withExec"]
        self._ran += [command for at, command in enumerate(new) if command not in self._ran and command not in new[:at]]
        self.fail_where_a_step_does(context)

    def with_command(self, *words: str) -> list[Any]:
        """What was asked for that has a command with these words as its last."""
        last = [
            (context, [args["args"] for name, args in chain(context) if name == "withExec"])
            for _, context in self.asked
        ]
        return [context for context, found in last if found and all(word in " ".join(found[-1]) for word in words)]

    def end(self, command: list[str]) -> Ended:
        """How a command ends."""
        said = " ".join(command)
        for words, ended in self.programs.items():
            if all(word in said for word in words.split()):
                return ended(command) if callable(ended) else ended
        if "tags" in command and "release" in command:
            return 0, "0123abc\nmain\nlatest\n", ""
        if "kws" in command:
            return 0, json.dumps(MODEL), ""
        if "artifact" in command:
            return 0, MODEL_DIGEST, ""
        if "digest" in command and ":model-" in said:
            return 0, MODEL_DIGEST, ""
        if "digest" in command:
            known = "sealed" in said or not said.endswith(":latest") or self._has_run("copy", ":latest")
            return (0, DIGEST, "") if known else (1, "", "failed to get digest: not found [http 404]")
        if "attestation" in command:
            kind, digest = (command[command.index(name) + 1] for name in ("--type", "--digest"))
            verb = (
                ("cosign sign ", digest)
                if kind.startswith("https://")
                else ("cosign attest ", f"--type {kind}", digest)
            )
            return (0, "", "") if self._has_run(*verb) else (3, "", f"no attestation of type {kind}")
        return 0, "", ""

    def _has_run(self, *words: str) -> bool:
        return any(all(word in f"{' '.join(command)} " for word in words) for command in self.ran())

    def fail_where_a_step_does(self, context: Any) -> None:
        for name, args in chain(context):
            if name == "withExec" and str(args.get("expect", "")).rpartition(".")[2] != "ANY":
                code, stdout, stderr = self.end(args["args"])
                if code:
                    said = {"_type": "EXEC_ERROR", "cmd": args["args"], "exitCode": code}
                    raise query_error(f"exit code: {code}", stdout=stdout, stderr=stderr, **said)

    def answer(self, context: Any) -> Any:
        leaf = context.selections[-1]
        self.ask(leaf.name, context)
        if leaf.name in self.answers:
            return self.answers[leaf.name]
        ended = self.end(next((args["args"] for name, args in reversed(chain(context)) if name == "withExec"), [""]))
        if leaf.name in ("exitCode", "stdout", "stderr"):
            return ended[("exitCode", "stdout", "stderr").index(leaf.name)]
        path = next((args["path"] for name, args in reversed(chain(context)) if name in ("file", "exists")), "")
        found = next((text for name, text in self.files.items() if path.endswith(name)), None)
        return found is not None if leaf.name == "exists" else found


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine with an archive of one manifest of four layers, whose steps succeed."""
    manifest = json.dumps({"layers": [{}] * 4})
    index = json.dumps({"manifests": [{"digest": DIGEST}]})
    image = json.dumps({"digest": DIGEST, "platforms": ["linux/amd64"]})
    osv = json.dumps({"error": "", "counts": []})
    stand_in = Engine(
        files={
            "oci/index.json": index,
            "a" * 64: manifest,
            "image.json": image,
            "osv.json": osv,
            "predicate.json": "{}",
        },
        answers={
            "defaultPlatform": dagger.Platform("linux/amd64"),
            "imageRef": f"docker.io/library/python:3.13-slim@{BASE}",
            "plaintext": "hunter2",
            "glob": [],
            "version": "v0.21.8",
        },
    )

    async def execute(self: Context, return_type: Any = None) -> Any:
        return stand_in.answer(self)

    async def execute_sync(self: Context, parent: Any, field_name: str, *_: Any) -> Any:
        stand_in.ask(field_name, parent._ctx)
        return parent

    monkeypatch.setattr(Context, "execute", execute)
    monkeypatch.setattr(Context, "execute_sync", execute_sync)
    return stand_in


@pytest.fixture
def signed() -> dict[str, Any]:
    """Arguments of a run that publishes and signs."""
    return {"address": "ghcr.io/me/name", "signing_key": dag.set_secret("key", "private")}
