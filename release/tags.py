"""Which tags a release may get, and what verified attestations say: judged here, done by regctl and cosign."""

import base64
import json
import re
from pathlib import Path
from typing import Annotated

import typer

from release.artifacts import InputError, Repeated, read_file, write_json

LATEST = "latest"
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
VERSION = re.compile(r"v?\d+(\.\d+)*([.+-].*)?")
REVISION = re.compile(r"[0-9a-f]{7,64}")
# cosign's short names of predicate types.
TYPES = {"slsaprovenance1": "https://slsa.dev/provenance/v1", "cyclonedx": "https://cyclonedx.org/bom"}


def tags(
    revision: str = "",
    branch: str = "",
    version: str = "",
    default_branch: str = "main",
    tag: Repeated = None,
    no_latest: Annotated[str, typer.Option(help="Why this is not to be called latest, such as: untested.")] = "",
    cannot_sign: Annotated[bool, typer.Option("--cannot-sign", help="There is nothing to sign with.")] = False,
) -> str:
    """Print the tags that a release may get, a line each, latest last: TAG's, or commit, branch and version.

    Ask before any work: what is no tag is refused, one that is another's, and a latest that is not to be had.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "-", branch)
    if name == LATEST or (not tag and any(pattern.fullmatch(name) for pattern in (VERSION, REVISION))):
        raise InputError(f"--branch {branch} would take a tag of another kind: name the tags by --tag")
    if version and not VERSION.fullmatch(version):
        raise InputError(f"--version {version!r} is not a version such as v1.2.0")
    number = re.sub(r"^v(?=\d)", "", version).replace("+", "-")
    found = tag or [one for one in (revision, name, number) if one]
    if not found:
        raise InputError("nothing says what is released: give --revision, --branch, --version or --tag")
    if wrong := [one for one in found if not TAG.fullmatch(one)]:
        raise InputError(f"{wrong[0]!r} is not a tag: letters, digits, '_', '.', '-', at most 128")
    default = bool(branch) and branch == default_branch
    if LATEST in found and (no_latest or not default):
        raise InputError(f"--tag latest: {no_latest or f'this is not the branch {default_branch}'}")
    wanted = LATEST in found or (not tag and default and not no_latest)
    if wanted and cannot_sign:
        raise InputError("there is nothing to sign with, and an unsigned image is not called latest: give a key")
    return "\n".join([*dict.fromkeys(one for one in found if one != LATEST), *([LATEST] if wanted else [])])


def attestation(
    found: Path,
    kind: Annotated[str, typer.Option("--type", help="The predicate's type, as cosign was given it.")],
    digest: Annotated[str, typer.Option(help="The image's, sha256:HEX.")],
    equals: Annotated[Path | None, typer.Option(help="A file that must be the predicate.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write the newest predicate.")] = None,
) -> list[str]:
    """Whether what cosign verify-attestation printed holds an attestation of an image. 3: it does not."""
    predicates = []
    for line in filter(None, (line.strip() for line in found.read_text(encoding="utf-8").splitlines())):
        try:
            statement = json.loads(base64.b64decode(json.loads(line)["payload"]))
            about = [subject["digest"].get("sha256") for subject in statement["subject"]]
            if statement["predicateType"] == TYPES.get(kind, kind) and digest.removeprefix("sha256:") in about:
                predicates.append(statement["predicate"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{found} is not what cosign verify-attestation prints ({error!r})") from error
    if equals is not None:
        predicates = [one for one in predicates if one == read_file(equals)]
    if output is not None and predicates:
        write_json(output, predicates[-1])
    return [] if predicates else [f"{digest} has no attestation of type {kind}{f' like {equals}' if equals else ''}"]


def notes(changelog: Path, tag: Annotated[str, typer.Option(help="The git tag, such as v1.2.0.")]) -> str:
    """Print the changelog's section about a version: what stands between its heading and the next."""
    number = tag.removeprefix("v")
    section = rf"^## \[?{re.escape(number)}\]?(?![\w.+-]).*?$\n(.*?)(?=^## |\Z)"
    found = re.search(section, changelog.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if not found or not found[1].strip():
        raise InputError(f"CHANGELOG.md has no section '## {number}': write what is in {tag} first")
    return found[1].strip()
