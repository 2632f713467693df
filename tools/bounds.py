"""The bounds of the gates: ``gates.toml``, and what replaces them for one run. Standard library only.

``python -m tools.bounds gates.toml min_accuracy=0.95`` prints what then holds, as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


class BoundsError(ValueError):
    """A bound that cannot be meant: one line that names it and the remedy."""


@dataclass(frozen=True)
class Bounds:
    """What ``gates.toml`` documents; None: that gate is switched off. Shares are from 0 to 1."""

    min_accuracy: float | None
    min_accuracy_lower: float | None
    min_recall: float | None
    min_rejection: float | None
    max_loss_increase: float | None
    max_parity_difference: float | None
    max_disturbed_drop: float | None
    min_clip_accuracy: float | None
    max_p95_ms: float | None
    max_start_seconds: float | None
    max_size_mb: float | None
    max_vulnerabilities: float | None
    denied_licences: list[str] | None


_NAMES = [field.name for field in fields(Bounds)]
_SHARES = {
    *("min_accuracy", "min_accuracy_lower", "min_recall", "min_rejection"),
    *("max_disturbed_drop", "min_clip_accuracy"),
}
_LISTS = {"denied_licences"}


def read(path: Path, replaced: Sequence[str] = ()) -> Bounds:
    """The bounds of the file, with ``NAME=VALUE`` (a TOML value) in place of some.

    Raises BoundsError on a file or a value that cannot be meant; every bound must be there, ``false`` where unwanted.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BoundsError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise BoundsError(f"{path} is not TOML: {error}") from error
    values: dict[str, Any] = {}
    for table in content.values():
        if not isinstance(table, dict):
            raise BoundsError(f"{path}: every bound stands in a table, such as [model]")
        values |= table
    if missing := [name for name in _NAMES if name not in values]:
        raise BoundsError(f"{path} lacks {', '.join(missing)}; `false` switches a gate off")
    checked = {name: _checked(name, value, str(path)) for name, value in values.items()}
    for text in replaced:
        name, equals, value = text.partition("=")
        if not equals:
            raise BoundsError(f"the bound {text!r} is not NAME=VALUE, such as min_accuracy=0.95")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except ValueError as error:
            raise BoundsError(f"the bound {text!r}: {value!r} is not a number, a list or false") from error
        checked[name] = _checked(name, parsed, f"the bound {text!r}")
    return Bounds(**checked)


def _checked(name: str, value: Any, where: str) -> Any:
    if name not in _NAMES:
        raise BoundsError(f"{where}: no gate has a bound {name!r}; there are {', '.join(_NAMES)}")
    if value is False:
        return None
    if name in _LISTS:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise BoundsError(f"{where}: {name} is a list of strings or false, not {value!r}")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise BoundsError(f"{where}: {name} is a number from 0 on or false, not {value!r}")
    if name in _SHARES and value > 1:
        raise BoundsError(f"{where}: {name} is a share from 0 to 1, not {value!r}")
    return float(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="gates.toml")
    parser.add_argument("replaced", nargs="*", metavar="NAME=VALUE", help="bounds that replace the file's")
    options = parser.parse_args()
    try:
        print(json.dumps(asdict(read(options.file, options.replaced))))
    except BoundsError as error:
        print(f"bounds: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
