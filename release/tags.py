"""Which tags a release may get, and what verified attestations say: judged here, done by regctl and cosign."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from release.artifacts import InputError

LATEST = "latest"
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"v?\d+(\.\d+)*([.+-].*)?")
_REVISION = re.compile(r"[0-9a-f]{7,64}")
# cosign's short names of predicate types.
TYPES = {"slsaprovenance1": "https://slsa.dev/provenance/v1", "cyclonedx": "https://cyclonedx.org/bom"}


def release_tags(
    given: list[str],
    revision: str = "",
    branch: str = "",
    version: str = "",
    default_branch: str = "main",
    no_latest: str = "",
    cannot_sign: bool = False,
) -> list[str]:
    """The tags in the order in which they are moved, ``latest`` last: those given, or commit, branch and version.

    ``no_latest`` says why this release may not be called ``latest``; nor may one that nothing can sign.
    Raises InputError on what is no tag, on one that is another's, and on a ``latest`` that is not to be had.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "-", branch)
    if name == LATEST or (not given and any(pattern.fullmatch(name) for pattern in (_VERSION, _REVISION))):
        raise InputError(f"--branch {branch} would take a tag of another kind: name the tags by --tag")
    if version and not _VERSION.fullmatch(version):
        raise InputError(f"--version {version!r} is not a version such as v1.2.0")
    number = re.sub(r"^v(?=\d)", "", version).replace("+", "-")
    found = given or [tag for tag in (revision, name, number) if tag]
    if not found:
        raise InputError("nothing says what is released: give --revision, --branch, --version or --tag")
    if wrong := [tag for tag in found if not _TAG.fullmatch(tag)]:
        raise InputError(f"{wrong[0]!r} is not a tag: letters, digits, '_', '.', '-', at most 128")
    default = bool(branch) and branch == default_branch
    if LATEST in found and (no_latest or not default):
        raise InputError(f"--tag latest: {no_latest or f'this is not the branch {default_branch}'}")
    wanted = LATEST in found or (not given and default and not no_latest)
    if wanted and cannot_sign:
        raise InputError("there is nothing to sign with, and an unsigned image is not called latest: give a key")
    return [*dict.fromkeys(tag for tag in found if tag != LATEST), *([LATEST] if wanted else [])]


def attestations(found: str, kind: str, digest: str) -> list[dict[str, Any]]:
    """The predicates of a type about an image, of what ``cosign verify-attestation`` printed, in its order.

    Raises InputError on what it never prints: a line that is no statement.
    """
    predicates = []
    for line in filter(None, (line.strip() for line in found.splitlines())):
        try:
            statement = json.loads(base64.b64decode(json.loads(line)["payload"]))
            about = [subject["digest"].get("sha256") for subject in statement["subject"]]
            if statement["predicateType"] == TYPES.get(kind, kind) and digest.removeprefix("sha256:") in about:
                predicates.append(statement["predicate"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"this is not what cosign verify-attestation prints ({error!r})") from error
    return predicates


def notes(changelog: str, tag: str) -> str:
    """The section of ``CHANGELOG.md`` about a version: what stands between its heading and the next."""
    version = re.escape(tag.removeprefix("v"))
    found = re.search(rf"^## \[?{version}\]?(?![\w.+-]).*?$\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if not found or not found[1].strip():
        raise InputError(f"CHANGELOG.md has no section '## {tag.removeprefix('v')}': write what is in {tag} first")
    return found[1].strip() + "\n"
