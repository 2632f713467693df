"""The command line of a release: ``python -m release COMMAND``.

Exit codes: 0 done, 1 a tool failed, 2 bad input, 3 a gate failed or what was asked for is not there.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from release import gates, licences, pipeline_report, provenance, sbom, tags, vulnerabilities
from release.artifacts import SBOM, Artifacts, InputError, ToolError, read_file, write_json

Bounds = Annotated[Path, typer.Option("--gates", help="The file of bounds.")]
Bound = Annotated[list[str] | None, typer.Option(help="NAME=VALUE in place of the file's; repeatable.")]


def bounds(gates_file: Bounds = Path("gates.toml"), bound: Bound = None) -> str:
    """Check the bounds and print those that hold, as JSON; false is off."""
    held, by_hand = gates.read_bounds(gates_file, bound or [])
    licences.of_sbom({}, (), by_hand)
    return json.dumps(held)


def judge(
    artifacts: Path,
    gates_file: Bounds = Path("gates.toml"),
    bound: Bound = None,
    without: Annotated[list[gates.Part] | None, typer.Option(help="Not part of this run; repeatable.")] = None,
    published: Annotated[str, typer.Option(help="HOST/NAME@sha256:… of the image that was pulled back.")] = "",
    last: Annotated[Path | None, typer.Option(help="gates.json of the last release.")] = None,
    no_last: Annotated[str, typer.Option(help="Why there is no last release to compare with.")] = "none was given",
    not_proven: Annotated[list[str] | None, typer.Option(help="A line for the report; repeatable.")] = None,
) -> list[str]:
    """Judge the artefacts: gates.json, report.md and image/licences.json. 3: a gate failed."""
    held, by_hand = gates.read_bounds(gates_file, bound or [])
    run = Artifacts(artifacts)
    components = licences.of_sbom(run.read(SBOM), held[gates.DENIED] or [], by_hand)
    found = gates.judge(run, held, components, without or [], published, read_file(last) if last else None, no_last)
    write_json(artifacts / "gates.json", found.content())
    if components:
        write_json(artifacts / "image" / "licences.json", {"components": [one._asdict() for one in components]})
    (artifacts / "report.md").write_text(pipeline_report.render(run, found, not_proven or []), encoding="utf-8")
    print(artifacts / "report.md")
    return [gate.line() for gate in found.those(gates.FAILED)]


def verdict(artifacts: Path, image: Annotated[Path | None, typer.Option("--archive")] = None) -> list[str]:
    """The verdict in gates.json, as exit code; with an archive, whether that may be released. 3: a gate failed."""
    content = read_file(artifacts / "gates.json")
    try:
        if not content["gates"]:
            raise LookupError("it names no gate")
        listed = [gates.Gate(**one) for one in content["gates"]]
    except (LookupError, TypeError) as error:
        raise InputError(f"{artifacts / 'gates.json'} is no verdict ({error}); judge the artefacts first") from None
    passing = (gates.HELD, gates.OFF, gates.ABSENT)
    failed = [f"{gate.name}: {gate.value}" for gate in listed if gate.verdict not in passing]
    if image is not None:
        absent = [gate.name for gate in listed if gate.verdict == gates.ABSENT and gate.part in list(gates.Part)]
        failed += [f"{name}: {gates.ABSENT}, and nothing is released without" for name in absent]
        if sbom.describe(image)["digest"] != (content.get("run") or {}).get("image_digest"):
            failed.append(f"the verdict is not about {image}")
    if not failed and content.get("passed") is not True:
        failed.append("the run did not pass")
    return failed


def finish(result: str | list[str] | None, **_: Any) -> None:
    """A command returns what it prints, or what failed, a line each: exit code 3."""
    failed = result if isinstance(result, list) else []
    if isinstance(result, str):
        print(result)
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    raise typer.Exit(3 if failed else 0)


def main() -> None:
    cli = typer.Typer(
        add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__, result_callback=finish
    )
    papers = (sbom.sbom, vulnerabilities.vulnerabilities, provenance.provenance)
    for command in (bounds, *papers, judge, verdict, tags.tags, tags.attestation, tags.notes):
        cli.command()(command)
    try:
        cli()
    except (InputError, ToolError, OSError, UnicodeDecodeError) as error:
        print(f"release: {error}", file=sys.stderr)
        raise SystemExit(1 if isinstance(error, ToolError) else 2) from None


if __name__ == "__main__":
    main()
