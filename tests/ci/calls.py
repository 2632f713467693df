"""`dagger call`s as documents and CI systems write them: recorded from a script, looked up in the module."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

# What a script would call, and what its stand-in does; each call of the last two is written down.
STAND_INS = {"apk": "", "curl": "echo :", "git": "echo t"}
RECORDED = ("dagger", "gh")


def recorded(shell: str, script: str, given: dict[str, str], folder: Path) -> list[list[str]]:
    """The calls that a script makes, run in ``folder`` with the variables ``given``; one that is not given fails."""
    record = f'printf "%s\\n" "${{0##*/}}" "$@" "" >>{folder}/calls\n[ "$2" != view ] || echo "$IS_DRAFT"'
    for program, does in {**STAND_INS, **dict.fromkeys(RECORDED, record)}.items():
        (folder / program).write_text(f"#!/bin/sh\n{does}\n")
        (folder / program).chmod(0o755)
    variables = {"PATH": f"{folder}:{os.environ['PATH']}", "IS_DRAFT": "false", **given}
    subprocess.run([shell, "-euc", script], cwd=folder, env=variables, check=True, timeout=60)
    return [call.splitlines() for call in (folder / "calls").read_text().strip("\n").split("\n\n")]


def kws() -> Any:
    """The module's description of itself."""
    from kws_ci.main import Kws

    return Kws.__dagger_module__.get_object("Kws")  # type: ignore[attr-defined]


def function_of(words: list[str]) -> str:
    """The function that ``dagger call WORDS`` names; it and its options must be the module's."""

    def options(given: list[str], of: Any) -> bool:
        known = {f"--{name.replace('_', '-')}" for name in of}
        return {word.partition("=")[0] for word in given if word.startswith("--")} <= known

    functions = {name.lstrip("_").replace("_", "-"): each for name, each in kws().functions.items() if name}
    at = next(number for number, word in enumerate(words) if not word.startswith("--"))
    chained = next((number for number, word in enumerate(words) if number > at and word[:2] != "--"), len(words))
    assert options(words[:at], kws().get_constructor().parameters), shlex.join(words)
    assert words[at] in functions, shlex.join(words)
    assert options(words[at + 1 : chained], functions[words[at]].parameters), shlex.join(words)
    return words[at]
