"""Licences of what an SBOM lists: each component by its own SPDX expression, and what is unknown is not allowed."""

import re
from collections.abc import Collection
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing
from packaging.utils import canonicalize_name

from release.artifacts import InputError

SPDX = get_spdx_licensing()
ALLOWED, DENIED, UNKNOWN = "allowed", "denied", "unknown"


def judge(text: str, denied: Collection[str]) -> str:
    """The verdict on an expression; ``denied`` are patterns such as ``AGPL-*``, in any case.

    What one can comply with is allowed; the rest is denied where a denied name stands in it ("GNU AGPLv3"), or unknown.
    """
    # "Apache 2.0": what is one name is tried as SPDX would write it.
    spelled = text if re.search(r"\b(and|or|with)\b|[()]", text, re.IGNORECASE) else "-".join(text.split())
    with suppress(ExpressionError):  # what is no expression allows nothing
        if spelled and _allows(SPDX.parse(spelled, validate=False), denied):
            return ALLOWED
    families = [re.escape(family).replace(r"\*", ".*") for pattern in denied if (family := pattern.strip("*-"))]
    named = any(re.search(rf"\b{family}", f"{text} {spelled}", re.IGNORECASE) for family in families)
    return DENIED if named else UNKNOWN


def _allows(node: Any, denied: Collection[str]) -> bool:
    """Of an AND every part, of an OR one; WITH is taken as a whole."""
    if isinstance(node, (SPDX.AND, SPDX.OR)):
        parts = [_allows(part, denied) for part in node.args]
        return all(parts) if isinstance(node, SPDX.AND) else any(parts)
    keys = [part.key for part in node.decompose()]
    wrong = [name for name in (node.render(), *keys) for each in denied if fnmatchcase(name.lower(), each.lower())]
    return not wrong and all(key in SPDX.known_symbols for key in keys)


def of_sbom(sbom: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """``licences.json``: each component of a CycloneDX document with its verdict; an ``error`` where none is known.

    Raises InputError on an entry of ``known``, ``[licences]`` of gates.toml, that lacks a part or allows nothing.
    """
    denied, by_hand = known.get("denied"), {name: entry for name, entry in known.items() if name != "denied"}
    if not isinstance(denied, list) or not all(isinstance(name, str) and name.strip("*-") for name in denied):
        raise InputError(f"[licences] has `denied`, a list of names such as 'AGPL-*', not {denied}")
    for name, entry in by_hand.items():
        whole = isinstance(entry, dict) and set(entry) == {"stated", "expression", "reason"}
        if not whole or judge(str(entry["expression"]), ()) != ALLOWED or not str(entry["reason"]).strip():
            raise InputError(f"[licences.{name}] has `stated`, an `expression` of SPDX and a `reason`, not {entry}")
    table = {canonicalize_name(name): entry for name, entry in by_hand.items()}
    try:  # a distribution, and what syft lists of files, has no licence of its own
        listed = [one for one in sbom["components"] if one.get("type") not in ("operating-system", "file")]
        found = [_component(one, denied, table) for one in listed]
    except (LookupError, TypeError, AttributeError):  # it is not CycloneDX: nothing is known
        found = []
    if not found:
        return {"error": sbom.get("error") or "the SBOM lists no component"}
    wrong = [one for one in found if one["verdict"] != ALLOWED]
    failed = [f"{one['name']} ({one['stated'] or 'none stated'}: {one['verdict']})" for one in wrong]
    return {"failed": failed, "components": found}


def _component(component: dict[str, Any], denied: Collection[str], table: dict[Any, Any]) -> dict[str, str]:
    """What it states, the verdict on that, and why where that was decided by hand."""
    told = [{**entry, **entry.get("license", {})} for entry in component.get("licenses", [])]
    entries = [one.get("expression") or one.get("id") or one.get("name") or "" for one in told]
    name, version = component.get("name", ""), component.get("version", "")
    text = " AND ".join(f"({entry})" if len(entries) > 1 else entry for entry in entries)
    verdicts = [judge(entry, denied) for entry in entries] or [UNKNOWN]
    verdict, reason = next(one for one in (DENIED, UNKNOWN, ALLOWED) if one in verdicts), ""
    # Debian lists every name of a copyright file, in its own spelling; data are not inside the image.
    debian = component.get("purl", "").startswith("pkg:deb/debian/")
    if verdict == UNKNOWN and (debian or (component.get("type") == "data" and text)):
        verdict, reason = ALLOWED, "none of its names is denied"
    elif verdict == UNKNOWN and (entry := table.get(canonicalize_name(name))) and entry["stated"] == text:
        verdict, reason = judge(entry["expression"], denied), f"{entry['expression']}: {entry['reason']}"
    return {"name": name, "version": version, "stated": text, "verdict": verdict, "reason": reason}
