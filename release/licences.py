"""Licences of what an SBOM lists: each component by its own SPDX expression, and what is unknown is not allowed."""

import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from boolean import ParseError
from license_expression import ExpressionError, get_spdx_licensing
from packaging.utils import canonicalize_name

from release.artifacts import InputError

SPDX = get_spdx_licensing()
ALLOWED, DENIED, UNKNOWN = "allowed", "denied", "unknown"


class Component(NamedTuple):
    """A component of an SBOM: what it states, the verdict on that, and why where that was decided by hand."""

    name: str
    version: str
    stated: str
    verdict: str
    reason: str = ""


def judge(text: str, denied: Collection[str]) -> str:
    """The verdict on an expression: of an AND the worst part's, of an OR the best's, and WITH is taken as a whole.

    ``denied``: patterns such as ``AGPL-*``, in any case. What is no expression of SPDX licences is unknown, or denied
    where a denied licence's name stands in it.
    """
    # "Apache 2.0": what is one name is tried as SPDX would write it.
    spelled = text if re.search(r"\b(and|or|with)\b|[()]", text, re.IGNORECASE) else "-".join(text.split())
    try:
        return _of_tree(SPDX.parse(spelled, validate=False), f"{text} {spelled}", denied)
    except (ExpressionError, ParseError):
        return _of_tree(None, f"{text} {spelled}", denied)


def _of_tree(node: Any, text: str, denied: Collection[str]) -> str:
    """The verdict on a parsed expression that is written ``text``; None: the text is no expression."""
    if isinstance(node, (SPDX.AND, SPDX.OR)):
        found = {_of_tree(part, part.render(), denied) for part in node.args}
        # "GNU AGPLv3 or later" is no choice: beside what is denied, what is unknown does not help.
        order = (DENIED, UNKNOWN, ALLOWED) if isinstance(node, SPDX.AND) else (ALLOWED, DENIED, UNKNOWN)
        return next(verdict for verdict in order if verdict in found)
    keys = [part.key for part in node.decompose()] if node else []
    names = [node.render(), *keys] if node else []
    if any(fnmatchcase(name.lower(), pattern.lower()) for name in names for pattern in denied):
        return DENIED
    if keys and all(key in SPDX.known_symbols for key in keys):
        return ALLOWED
    # A text that is no SPDX licence is denied if it contains a denied family's name, as "GNU AGPLv3" does ``AGPL``.
    families = [pattern.strip("*-").lower() for pattern in denied]
    return DENIED if any(family and family in text.lower() for family in families) else UNKNOWN


def of_sbom(sbom: dict[str, Any], denied: Collection[str], by_hand: dict[str, Any]) -> list[Component]:
    """Each component of a CycloneDX document with its verdict; ``by_hand`` is the table ``[licences]`` of gates.toml.

    Raises InputError on an entry of that table that lacks a part or allows nothing.
    """
    for name, entry in by_hand.items():
        whole = isinstance(entry, dict) and set(entry) == {"stated", "expression", "reason"}
        if not whole or judge(str(entry["expression"]), ()) != ALLOWED or not str(entry["reason"]).strip():
            raise InputError(f"[licences.{name}] has `stated`, an `expression` of SPDX and a `reason`, not {entry}")
    table = {canonicalize_name(name): entry for name, entry in by_hand.items()}
    # A distribution, and what syft lists of files, has no licence of its own.
    left_out = ("operating-system", "file")
    try:
        return [_component(one, denied, table) for one in sbom.get("components", []) if one.get("type") not in left_out]
    except (LookupError, TypeError, AttributeError):  # it is not CycloneDX: nothing is known
        return []


def _component(component: dict[str, Any], denied: Collection[str], table: dict[Any, Any]) -> Component:
    licences = [(entry, entry.get("license", {})) for entry in component.get("licenses", [])]
    entries = [entry.get("expression") or one.get("id") or one.get("name") or "" for entry, one in licences]
    name, version = component.get("name", ""), component.get("version", "")
    text = " AND ".join(f"({entry})" if len(entries) > 1 else entry for entry in entries)
    verdicts = {judge(entry, denied) for entry in entries} or {UNKNOWN}
    verdict, reason = next(one for one in (DENIED, UNKNOWN, ALLOWED) if one in verdicts), ""
    # Debian lists every name of a copyright file, in its own spelling; data are not inside the image.
    debian = component.get("purl", "").startswith("pkg:deb/debian/")
    if verdict == UNKNOWN and (debian or (component.get("type") == "data" and text)):
        verdict, reason = ALLOWED, "none of its names is denied"
    elif verdict == UNKNOWN and (entry := table.get(canonicalize_name(name))) and entry["stated"] == text:
        verdict, reason = judge(entry["expression"], denied), f"{entry['expression']}: {entry['reason']}"
    return Component(name, version, text, verdict, reason)
