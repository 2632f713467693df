"""Reads the client's recorded calls (private to dagger-io: wrapped here alone), and how the module describes itself."""

import shlex
from collections.abc import Iterator
from typing import Any

from dagger import dag


def chain(thing: Any) -> list[tuple[str, dict[str, Any]]]:
    """The calls that made a container, directory or file: name and arguments, in order."""
    return [(selection.name, selection.args) for selection in getattr(thing, "_ctx", thing).selections]


def everything(thing: Any, seen: set[int] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The calls of a thing and of all that went into it; what went in by several ways is told once."""
    seen = set() if seen is None else seen
    for name, arguments in chain(thing):
        yield name, arguments
        for value in arguments.values():
            for item in value if isinstance(value, list) else [value]:
                if hasattr(item, "_ctx") and id(item._ctx) not in seen:
                    seen.add(id(item._ctx))
                    yield from everything(item, seen)


def commands(thing: Any) -> list[list[str]]:
    return [arguments["args"] for name, arguments in everything(thing) if name == "withExec"]


def written(thing: Any) -> dict[str, str]:
    """The files that were written on the way to a thing; those of sources (made with ``marked``) are empty."""
    return {args["path"]: args["contents"] for name, args in everything(thing) if name == "withNewFile"}


def marks(thing: Any) -> set[str]:
    return {path for path, contents in written(thing).items() if not contents}


def marked(name: str) -> Any:
    """A directory that can be told apart in a graph."""
    return dag.directory().with_new_file(name, "")


def described(name: str = "Kws") -> Any:
    """An object of the module, as it describes itself to the engine."""
    from kws_ci.main import Kws

    return Kws.__dagger_module__.get_object(name)  # type: ignore[attr-defined]


def function_of(words: list[str]) -> str:
    """The function that ``dagger call WORDS`` names; it and its options must be the module's."""
    functions = {name.lstrip("_").replace("_", "-"): each for name, each in described().functions.items() if name}
    at = next(number for number, word in enumerate(words) if not word.startswith("--"))
    chained = next((number for number, word in enumerate(words) if number > at and word[:2] != "--"), len(words))
    assert words[at] in functions, shlex.join(words)
    for given, of in ((words[:at], described().get_constructor()), (words[at + 1 : chained], functions[words[at]])):
        known = {f"--{name.replace('_', '-')}" for name in of.parameters}
        assert {word.partition("=")[0] for word in given} <= known, shlex.join(words)
    return words[at]
