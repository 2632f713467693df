"""The bounds of the gates: ``gates.toml``, and what replaces them for one run."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from release.artifacts import InputError, as_number
from release.figures import CLASSES, FIGURES

DENIED = "denied_licences"
NAMES = (*dict.fromkeys(figure.bound for figure in FIGURES if figure.bound), *CLASSES, "max_loss_increase", DENIED)
SHARES = {*CLASSES, *(figure.bound for figure in FIGURES if figure.unit == "%")}


def read_bounds(path: Path, replaced: Sequence[str] = ()) -> tuple[dict[str, Any], Any]:
    """The bounds of the file with ``NAME=VALUE`` in place of some (False: off), and its table ``[licences]``.

    Raises InputError on a value that cannot be meant; every bound must be there, ``false`` where unwanted.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as TOML: {error}") from error
    by_hand = content.pop("licences", {})
    found: dict[str, Any] = {}
    for name, table in content.items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: {name} stands in no table, such as [model]")
        found |= {key: _checked(key, value, str(path)) for key, value in table.items()}
    if missing := [name for name in NAMES if name not in found]:
        raise InputError(f"{path} lacks {', '.join(missing)}; `false` switches a gate off")
    for text in replaced:
        name, _, value = text.partition("=")
        found[name] = _checked(name, _parsed(name, value), f"the bound {text!r}")
    return found, by_hand if isinstance(by_hand, dict) else {}


def _parsed(name: str, text: str) -> Any:
    if name == DENIED and text != "false":
        # Apart by semicolons: Dagger's command line splits at commas before a list comes here.
        return [item.strip(" \"'") for item in text.strip("[] ").split(";")]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _checked(name: str, value: Any, where: str) -> Any:
    if name not in NAMES:
        raise InputError(f"{where}: no gate has a bound {name!r}; there are {', '.join(NAMES)}")
    if value is False:
        return False
    if name == DENIED:
        if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
            raise InputError(f"{where}: {name} is a list of names or false, not {value!r}")
        return value
    number = as_number(value)
    if number is None or number < 0 or (name in SHARES and number > 1):
        kind = "a share from 0 to 1" if name in SHARES else "a number from 0 on"
        raise InputError(f"{where}: {name} is {kind} or false, not {value!r}")
    return number
