"""What ran in a call and what came from the cache, read from the engine's own record (``DAGGER_PROGRESS=plain``)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_EXEC = re.compile(r"^(\d+)\s*:[ ┆]*withExec (.+?)(?: \(expect: ANY\))?$")
_STATUS = re.compile(r"^(\d+)\s*:[ ┆]*Container\.withExec (DONE|CACHED|ERROR) \[(?:(\d+)m)?([\d.]+)s\]")
# The engine says DONE [0.0s] of a step that it has only put on its list; a process takes longer than that.
_TOOK = 0.05


@dataclass(frozen=True)
class Record:
    """Names of the programs of a call, such as ``model train`` or ``tools/install.py model``."""

    ran: frozenset[str]
    cached: frozenset[str]


def read(progress: str) -> Record:
    """The record of one call. Raises ValueError where it holds no step at all: then its form has changed."""
    commands: dict[str, str] = {}
    ran, seen = set(), set()
    for line in _COLOUR.sub("", progress).splitlines():
        if found := _EXEC.match(line):
            commands[found[1]] = name(found[2])
            seen.add(name(found[2]))
        elif (found := _STATUS.match(line)) and found[1] in commands:
            seconds = 60 * int(found[3] or 0) + float(found[4])
            if found[2] != "CACHED" and seconds >= _TOOK:
                ran.add(commands[found[1]])
    if not seen:
        raise ValueError("no step in the engine's record")
    return Record(frozenset(ran), frozenset(seen - ran))


def name(command: str) -> str:
    """``model train`` of ``python -m model train --dataset …``: the program, and which of its uses it is."""
    words = command.split()
    if words[:1] == ["python"]:
        words = words[2:] if words[1] == "-m" else words[1:]
    program, *rest = words
    if program.endswith("install.py"):
        return f"{program} {rest[-1]}"
    return f"{program} {rest[0]}" if program == "model" else program
