"""The command line of a release: ``python -m release COMMAND``.

Exit codes: 0 done, 1 a tool failed, 2 bad input, 3 a gate failed or what was asked for is not there.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from release import gates, licences, pipeline_report, provenance, sbom, tags, vulnerabilities
from release.artifacts import LICENCES, SBOM, Artifacts, InputError, Repeated, ToolError, read_file, write_json

Bounds = Annotated[Path, typer.Option("--gates", help="The file of bounds.")]


def bounds(gates_file: Bounds = Path("gates.toml"), bound: Repeated = None) -> None:
    """Check the bounds, before any work."""
    licences.of_sbom({}, gates.read_bounds(gates_file, bound or [])[1])


def judge(
    artifacts: Path,
    gates_file: Bounds = Path("gates.toml"),
    bound: Repeated = None,
    without: Annotated[list[gates.Part] | None, typer.Option(help="Not part of this run; repeatable.")] = None,
    published: Annotated[str, typer.Option(help="HOST/NAME@sha256:… of the image that was pulled back.")] = "",
    last: Annotated[Path | None, typer.Option(help="gates.json of the last release.")] = None,
    no_last: Annotated[str, typer.Option(help="Why there is no last release to compare with.")] = "none was given",
    not_proven: Repeated = None,
) -> list[str]:
    """Judge the artefacts: gates.json, report.md and image/licences.json. 3: a gate failed.

    BOUND is NAME=VALUE in place of the file's, NOT_PROVEN a line of the report.
    """
    held, known = gates.read_bounds(gates_file, bound or [])
    components = licences.of_sbom(Artifacts(artifacts).read(SBOM), known)
    run = Artifacts(artifacts, {LICENCES: components, gates.LAST: read_file(last) if last else {"error": no_last}})
    judged = gates.judge(run, held, without or [], published)
    write_json(artifacts / "gates.json", judged)
    if "error" not in components:
        write_json(artifacts / LICENCES, components)
    (artifacts / "report.md").write_text(pipeline_report.render(run, judged, not_proven or []), encoding="utf-8")
    print(artifacts / "report.md")
    return list(judged["failed"])


def verdict(artifacts: Path, archive: Path | None = None) -> list[str]:
    """The verdict in gates.json, as exit code; with an archive, whether that may be released. 3: a gate failed."""
    content = read_file(artifacts / "gates.json")
    try:
        failed, passed, digest = [*content["failed"]], content["passed"] is True, content["run"]["digest"]
        without = [f"{part}: {gates.ABSENT}, and nothing is released without" for part in content["without"]]
    except (LookupError, TypeError) as error:
        raise InputError(f"{artifacts}/gates.json is no verdict ({error!r}); judge the artefacts first") from None
    if archive is not None:
        failed += without
        failed += [] if sbom.describe(archive)["digest"] == digest else [f"the verdict is not about {archive}"]
    return failed or ([] if passed else ["the run did not pass"])


def finish(failed: list[str] | None, **_: Any) -> None:
    """A command returns what failed, a line each: exit code 3."""
    for line in failed or []:
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
