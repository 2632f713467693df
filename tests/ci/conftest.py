"""The module's graph, looked at without an engine: the client records calls, only awaited leaves would connect."""

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

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "ci" / "src"))

DIGEST, BASE, MODEL_DIGEST = (f"sha256:{letter * 64}" for letter in "abe")
SOURCES = ("dependencies", "kws_source", "model_source", "service_source", "release_source", "tools_source", "checkout")
FILES = {"gates_file": "gates.toml", "exceptions": "osv-scanner.toml", "changelog": "CHANGELOG.md"}
MODEL = {"sha256": "c" * 64, "version": "v", "data_digest": "d"}
Ended = tuple[int, str, str]  # exit code, stdout, stderr
Given = dict[str, Any]
AT = f"ghcr.io/me/name@{DIGEST}"


def settings(**given: Any) -> Any:
    """The module with the constructor's arguments given, and sources that can be told apart."""
    from kws_ci.main import Kws

    sources = {name: marked(name) for name in (*SOURCES, "git")}
    return Kws(**sources, **{name: marked(name).file(path) for name, path in FILES.items()}, **given)


def query_error(message: str, **found: Any) -> dagger.QueryError:
    return dagger.QueryError([QueryErrorValue(message, extensions=found)], GraphQLRequest("{a}"))


@dataclass
class Engine:
    """Stands in for the engine: every program succeeds, unless ``programs`` says otherwise by words of its command."""

    programs: dict[str, Ended | Callable[[list[str]], Ended]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # contents by the end of the path
    answers: dict[str, Any] = field(default_factory=dict)  # by the leaf
    asked: list[Any] = field(default_factory=list)  # the leaves in their order
    ran: list[list[str]] = field(default_factory=list)  # every command in the order in which it was first asked for
    _seen: set[int] = field(default_factory=set)

    def forget(self) -> None:
        self.asked, self.ran, self._seen = [], [], set()

    def said(self, *words: str) -> list[str]:
        """The commands that have these words, as lines."""
        return [line for line in map(" ".join, self.ran) if all(word in line for word in words)]

    def steps(self) -> list[tuple[str, Given]]:
        """All calls that went into what was asked."""
        seen: set[int] = set()
        return [step for context in self.asked for step in everything(context, seen)]

    def ask(self, context: Any) -> None:
        self.asked.append(context)
        for name, args in everything(context, self._seen):
            if name == "withExec" and args["args"] not in self.ran:
                self.ran.append(args["args"])
        for name, args in chain(context):
            if name == "withExec" and str(args.get("expect", "")).rpartition(".")[2] != "ANY":
                code, stdout, stderr = self.end(args["args"])
                if code:
                    said = {"_type": "EXEC_ERROR", "cmd": args["args"], "exitCode": code}
                    raise query_error(f"exit code: {code}", stdout=stdout, stderr=stderr, **said)

    def end(self, command: list[str]) -> Ended:
        said = " ".join(command)
        for words, ended in self.programs.items():
            if all(word in said for word in words.split()):
                return ended(command) if callable(ended) else ended
        if "release tags" in said:
            return 0, "0123abc\nmain\nlatest\n", ""
        if "kws /model.onnx" in said:
            return 0, json.dumps(MODEL), ""
        if "artifact put" in said or ("image digest" in said and ":model-" in said):
            return 0, MODEL_DIGEST, ""
        if "image digest" in said:
            known = "sealed" in said or not said.endswith(":latest") or self.said("image copy", ":latest")
            return (0, DIGEST, "") if known else (1, "", "failed to get digest: not found [http 404]")
        if "verify-attestation" in said:
            kind, digest = command[command.index("--type") + 1], command[-1]
            signed = ("cosign sign ", digest) if kind.startswith("https:") else ("cosign attest ", f"{kind} --", digest)
            return (0, "", "") if self.said(*signed) else (1, "", f"none of the attestations matched {kind}")
        return 0, "", ""

    def answer(self, context: Any) -> Any:
        self.ask(context)
        leaf = context.selections[-1].name
        if leaf in self.answers:
            return self.answers[leaf]
        if leaf in ("exitCode", "stdout", "stderr"):
            command = next((args["args"] for name, args in reversed(chain(context)) if name == "withExec"), [""])
            return self.end(command)[("exitCode", "stdout", "stderr").index(leaf)]
        path = next((args["path"] for name, args in reversed(chain(context)) if name in ("file", "exists")), "")
        found = next((text for name, text in self.files.items() if path.endswith(name)), None)
        return found is not None if leaf == "exists" else found


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine with an archive of one manifest of four layers, whose steps succeed."""
    found = {
        "oci/index.json": {"manifests": [{"digest": DIGEST}]},
        "a" * 64: {"layers": [{}] * 4},
        "image.json": {"digest": DIGEST, "platforms": ["linux/amd64"]},
        **{name: {} for name in ("osv.json", "gates.json", "predicate.json")},
    }
    answers: Given = {"plaintext": "hunter2", "glob": [], "defaultPlatform": dagger.Platform("linux/amd64")}
    answers |= {"version": "v0.21.8", "imageRef": f"docker.io/library/python:3.13-slim@{BASE}"}
    stand_in = Engine(files={name: json.dumps(content) for name, content in found.items()}, answers=answers)

    async def execute(self: Context, return_type: Any = None) -> Any:
        return stand_in.answer(self)

    async def execute_sync(self: Context, parent: Any, field_name: str, *_: Any) -> Any:
        stand_in.ask(parent._ctx)
        return parent

    monkeypatch.setattr(Context, "execute", execute)
    monkeypatch.setattr(Context, "execute_sync", execute_sync)
    return stand_in


@pytest.fixture
def signed() -> Given:
    """Arguments of a run that publishes and signs."""
    return {"address": "ghcr.io/me/name", "signing_key": dag.set_secret("key", "private")}
