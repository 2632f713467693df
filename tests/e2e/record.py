"""What ran in a call and what came from the cache, read from the engine's own record (``DAGGER_PROGRESS=plain``)."""

from __future__ import annotations

import re
from itertools import takewhile

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_EXEC = re.compile(r"^(\d+)\s*:[ ┆]*withExec (.+?)(?: \(expect: ANY\))?$")
_STATUS = re.compile(r"^(\d+)\s*:[ ┆]*Container\.withExec (DONE|CACHED|ERROR) \[(?:(\d+)m)?([\d.]+)s\]")
# The engine says DONE [0.0s] of a step that it has only put on its list; a process takes longer than that.
_TOOK = 0.05


def read(progress: str) -> tuple[set[str], set[str]]:
    """The programs of a call that ran, such as ``model train``, and those that came from the cache alone."""
    commands: dict[str, str] = {}
    ran = set()
    for line in _COLOUR.sub("", progress).splitlines():
        if found := _EXEC.match(line):
            commands[found[1]] = name(found[2])
        elif (found := _STATUS.match(line)) and found[1] in commands:
            seconds = 60 * int(found[3] or 0) + float(found[4])
            if found[2] != "CACHED" and seconds >= _TOOK:
                ran.add(commands[found[1]])
    assert commands, "no step in the engine's record: its form has changed"
    return ran, {*commands.values()} - ran


def name(command: str) -> str:
    """``model train`` of ``python -m model train --dataset …``: the program, and which of its uses it is."""
    words = command.split()
    if words[:1] == ["python"]:
        words = words[2:] if words[1] == "-m" else words[1:]
    program, *rest = words
    uses = rest[-1:] if program.endswith("install.py") else takewhile(re.compile("[a-z][a-z-]*").fullmatch, rest)
    return " ".join([program, *uses])
