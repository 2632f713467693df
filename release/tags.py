"""Which tags a release may get, what verified attestations and the changelog say; `ci/` moves the tags by regctl."""

import base64
import json
import re
from pathlib import Path
from typing import Annotated

import typer

from release.artifacts import InputError, Output, Repeated, read_file, write_json

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
VERSION = re.compile(r"v?\d+(\.\d+)*([.+-].*)?")
REVISION = re.compile(r"[0-9a-f]{7,64}")


def tags(
    revision: str = "",
    branch: str = "",
    version: str = "",
    default_branch: str = "main",
    tag: Repeated = None,
    no_latest: Annotated[str, typer.Option(help="Why this is not to be called latest, such as: untested.")] = "",
    cannot_sign: Annotated[bool, typer.Option("--cannot-sign", help="There is nothing to sign with.")] = False,
) -> None:
    """Print the tags that a release may get, a line each, latest last: TAG's, or commit, branch and version.

    Ask before any work: refused are what is no tag, what is another's tag, and a latest that is not allowed.
    """
    name, number = re.sub(r"[^A-Za-z0-9._-]", "-", branch), re.sub(r"^v(?=\d)", "", version).replace("+", "-")
    found = tag or [one for one in (revision, name, number) if one]
    wrong = [one for one in found if not TAG.fullmatch(one)]
    other = no_latest or ("" if branch and branch == default_branch else f"this is not the branch {default_branch}")
    latest = "latest" in found or not (tag or other)
    anothers = name == "latest" or (not tag and (VERSION.fullmatch(name) or REVISION.fullmatch(name)))
    refused = {
        f"--branch {branch} would take a tag of another kind: name the tags by --tag": anothers,
        f"--version {version!r} is not a version such as v1.2.0": version and not VERSION.fullmatch(version),
        "nothing says what is released: give --revision, --branch, --version or --tag": not found,
        f"{', '.join(map(repr, wrong))} is not a tag: letters, digits, '_', '.', '-', at most 128": wrong,
        f"--tag latest: {other}": latest and other,
        "there is nothing to sign with, and an unsigned image is not called latest: give a key": latest and cannot_sign,
    }
    for why in [why for why, applies in refused.items() if applies]:
        raise InputError(why)
    print(*dict.fromkeys(one for one in found if one != "latest"), *(["latest"] if latest else []), sep="\n")


def attestation(
    found: Path,
    digest: Annotated[str, typer.Option(help="The image's, sha256:HEX.")],
    output: Output,
    equals: Annotated[Path | None, typer.Option(help="A file that must be the predicate.")] = None,
) -> list[str]:
    """Write the newest predicate about an image of what cosign verify-attestation printed. 3: there is none."""
    subject = {"sha256": digest.removeprefix("sha256:")}
    try:
        lines = found.read_text(encoding="utf-8").splitlines()
        stated = [json.loads(base64.b64decode(json.loads(line)["payload"])) for line in lines if line]
        told = [one["predicate"] for one in stated if subject in [each["digest"] for each in one["subject"]]]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{found} is not what cosign verify-attestation prints ({error!r})") from error
    told = [one for one in told if equals is None or one == read_file(equals)]
    for predicate in told[-1:]:
        write_json(output, predicate)
    return [] if told else [f"{digest} has no such attestation{f' like {equals}' if equals else ''}"]


def notes(changelog: Path, tag: Annotated[str, typer.Option(help="The git tag, such as v1.2.0.")]) -> None:
    """Print the changelog's section about a version: what stands between its heading and the next."""
    number = tag.removeprefix("v")
    section = rf"^## \[?{re.escape(number)}\]?(?![\w.+-]).*?$\n(.*?)(?=^## |\Z)"
    found = re.search(section, changelog.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if not found or not found[1].strip():
        raise InputError(f"{changelog} has no section '## {number}': write what is in {tag} first")
    print(found[1].strip())
