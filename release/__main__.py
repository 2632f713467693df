"""The command line of a release: ``python -m release COMMAND``.

Exit codes: 0 done, 1 a tool failed, 2 bad input, 3 a gate failed or what was asked for is not there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from release import gates, licences, pipeline_report, provenance, sbom, tags, vulnerabilities
from release.artifacts import SBOM, Artifacts, InputError, ToolError, read_json, write_json
from release.gates import DENIED, read_bounds

FAILED = 3
PARTS = tuple(gates.Part)
cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

Bounds = Annotated[Path, typer.Option("--gates", help="The file of bounds.")]
Bound = Annotated[list[str] | None, typer.Option(help="NAME=VALUE in place of the file's; repeatable.")]
Output = Annotated[Path, typer.Option(show_default=False)]
Repeated = Annotated[list[str] | None, typer.Option(help="Repeatable.")]
GATES, CONFIG, ARTIFACTS = Path("gates.toml"), Path("osv-scanner.toml"), Path("artifacts")


@cli.command()
def bounds(gates_file: Bounds = GATES, bound: Bound = None) -> None:
    """Check the bounds and print those that hold, as JSON; false is off."""
    held, by_hand = read_bounds(gates_file, bound or [])
    licences.of_sbom({}, (), by_hand)
    print(json.dumps(held))


@cli.command(name="sbom")
def make_sbom(image: Path, output: Output, platform: str = "", artifacts: Path = ARTIFACTS) -> None:
    """Write image.json and sbom.cdx.json of an OCI archive into a folder; needs syft.

    PLATFORM is the image of an index that was tested, ARTIFACTS the run's directory, for the model card.
    """
    facts = sbom.describe(image, platform)
    if not platform and len(facts["platforms"]) > 1:
        raise InputError(f"{image} holds {', '.join(facts['platforms'])}: name by --platform the one that was tested")
    write_json(output / "image.json", facts)
    document = sbom.merge(sbom.run_syft(image, facts), facts, Artifacts(artifacts))
    (output / "sbom.cdx.json").write_text(sbom.written(document), encoding="utf-8")


@cli.command(name="vulnerabilities")
def find_vulnerabilities(document: Path, output: Output, config: Path = CONFIG, database: Path | None = None) -> None:
    """Ask osv-scanner about an SBOM; write osv.json, also where it could not be asked. 3: something counts.

    With DATABASE, a copy of OSV's, nothing is asked outside. CONFIG lists what is accepted, each until a day.
    """
    try:
        found = vulnerabilities.scan(read_json(document), config, database)
    except (InputError, ToolError) as error:
        write_json(output, {"error": str(error)})
        raise
    write_json(output, found)
    print(f"{found['packages']} packages: {len(found['counts'])} with a fix, {len(found['unfixed'])} without")
    _end([f"{hole['id']} in {hole['package']}: fixed in {', '.join(hole['fixed'])}" for hole in found["counts"]])


@cli.command()
def judge(
    artifacts: Path,
    gates_file: Bounds = GATES,
    bound: Bound = None,
    without: Annotated[list[gates.Part] | None, typer.Option(help="Not part of this run; repeatable.")] = None,
    published: Annotated[str, typer.Option(help="HOST/NAME@sha256:… of the image that was pulled back.")] = "",
    last: Annotated[Path | None, typer.Option(help="gates.json of the last release.")] = None,
    no_last: Annotated[str, typer.Option(help="Why there is no last release to compare with.")] = "none was given",
    not_proven: Annotated[list[str] | None, typer.Option(help="A line for the report; repeatable.")] = None,
) -> None:
    """Judge the artefacts: gates.json, report.md and image/licences.json. 3: a gate failed."""
    held, by_hand = read_bounds(gates_file, bound or [])
    run = Artifacts(artifacts)
    components = licences.of_sbom(run.read(SBOM), held[DENIED] or [], by_hand)
    before = read_json(last) if last else None
    found = gates.judge(run, held, components, without or [], published, before, no_last)
    write_json(artifacts / "gates.json", found.content())
    if components:
        write_json(artifacts / "image" / "licences.json", {"components": [vars(one) for one in components]})
    (artifacts / "report.md").write_text(pipeline_report.render(run, found, not_proven or []), encoding="utf-8")
    print(artifacts / "report.md")
    _end([gate.line() for gate in found.those(gates.Verdict.FAILED)])


@cli.command()
def verdict(artifacts: Path, image: Annotated[Path | None, typer.Option("--archive")] = None) -> None:
    """The verdict in gates.json, as exit code; with an archive, whether that may be released. 3: a gate failed."""
    content = read_json(artifacts / "gates.json")
    listed = content.get("gates")
    if not isinstance(listed, list) or not all(isinstance(gate, dict) for gate in listed) or not listed:
        raise InputError(f"{artifacts / 'gates.json'} names no gate; judge the artefacts first")
    failed = [f"{one.get('name')}: {one.get('value')}" for one in listed if one.get("verdict") not in gates.PASSING]
    if image is not None:
        absent = [one for one in listed if one.get("verdict") == gates.Verdict.ABSENT and one.get("part") in PARTS]
        failed += [f"{one.get('name')}: {gates.Verdict.ABSENT}, and nothing is released without" for one in absent]
        if sbom.describe(image)["digest"] != Artifacts(artifacts).get("gates.json", "run/image_digest"):
            failed.append(f"the verdict is not about {image}")
    if content.get("passed") is not True and not failed:
        failed.append("the run did not pass")
    _end(failed)


@cli.command(name="provenance")
def make_provenance(
    image: Path,
    output: Output,
    builder: Annotated[str, typer.Option(help="URI of who runs the build.")],
    invocation: Annotated[str, typer.Option(help="URI of the run.")] = "",
    parameter: Repeated = None,
    material: Repeated = None,
    byproduct: Repeated = None,
    untested: Repeated = None,
) -> None:
    """Write the predicate of SLSA v1 about an image.json, for cosign to attest.

    Parameters are NAME=VALUE, materials and byproducts NAME=FILE or NAME=sha256:HEX, untested are platforms.
    """
    named = (parameter or [], material or [], byproduct or [])
    labels = read_json(image).get("labels") or {}
    write_json(output, provenance.predicate(labels, *named, builder, invocation, untested or []))


@cli.command(name="tags")
def choose_tags(
    revision: str = "",
    branch: str = "",
    version: str = "",
    default_branch: str = "main",
    tag: Repeated = None,
    no_latest: Annotated[str, typer.Option(help="Why this is not to be called latest, such as: untested.")] = "",
    cannot_sign: Annotated[bool, typer.Option("--cannot-sign", help="There is nothing to sign with.")] = False,
) -> None:
    """Print the tags that a release may get, a line each, latest last. Ask before any work."""
    found = tags.release_tags(tag or [], revision, branch, version, default_branch, no_latest, cannot_sign)
    print("\n".join(found))


@cli.command()
def attestation(
    found: Path,
    kind: Annotated[str, typer.Option("--type", help="The predicate's type, as cosign was given it.")],
    digest: Annotated[str, typer.Option(help="The image's, sha256:HEX.")],
    equals: Annotated[Path | None, typer.Option(help="A file that must be the predicate.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write the newest predicate.")] = None,
) -> None:
    """Whether what cosign verify-attestation printed holds an attestation of an image. 3: it does not."""
    predicates = tags.attestations(found.read_text(encoding="utf-8"), kind, digest)
    if equals is not None:
        predicates = [one for one in predicates if one == read_json(equals)]
    if output is not None and predicates:
        write_json(output, predicates[-1])
    _end([] if predicates else [f"{digest} has no attestation of type {kind}{f' like {equals}' if equals else ''}"])


@cli.command()
def notes(changelog: Path, tag: Annotated[str, typer.Option(help="The git tag, such as v1.2.0.")]) -> None:
    """Print the changelog's section about a version."""
    print(tags.notes(changelog.read_text(encoding="utf-8"), tag), end="")


def _end(failed: list[str]) -> None:
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    raise typer.Exit(FAILED if failed else 0)


def main() -> None:
    try:
        cli()
    except (InputError, ToolError, OSError, UnicodeDecodeError) as error:
        print(f"release: {error}", file=sys.stderr)
        raise SystemExit(1 if isinstance(error, ToolError) else 2) from None


if __name__ == "__main__":
    main()
