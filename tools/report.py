"""Judge the artefacts and write the page about them: ``gates.json`` and ``report.md``. Standard library only."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools import bounds, gates, page
from tools.artifacts import ArtifactError


def main() -> int:
    """Exit code 0: no gate failed; 3: one did; 2: nothing to judge, which the files then say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifacts", type=Path, help="the artefact directory: model/, inference/, image/")
    parser.add_argument("--gates", type=Path, default=Path("gates.toml"), help="the file of bounds")
    parser.add_argument("--bounds", nargs="*", default=[], metavar="NAME=VALUE", help="bounds that replace the file's")
    release = parser.add_mutually_exclusive_group()
    release.add_argument("--release", type=Path, help="evaluation.json or gates.json of the last release")
    release.add_argument("--no-release", default=gates.Verdict.no_release, metavar="WHY", help="(default: %(default)s)")
    options = parser.parse_args()
    if not options.artifacts.is_dir():
        print(f"report: {options.artifacts} is no directory; run the stages first", file=sys.stderr)
        return 2
    try:
        read = bounds.read(options.gates, options.bounds)
        verdict = gates.judge(options.artifacts, read, options.release, options.no_release)
        verdict.write(options.artifacts / "gates.json")
        written = page.write(options.artifacts)
    except ArtifactError as error:
        verdict = gates.Verdict([gates.Gate("artefacts", "complete and of this version", str(error), False)], {})
        verdict.write(options.artifacts / "gates.json")
        (options.artifacts / "report.md").write_text(f"# ❌ artefacts: {error}\n", encoding="utf-8")
        print(f"report: {error}", file=sys.stderr)
        return 2
    except (bounds.BoundsError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(written)
    for gate in verdict.failed:
        print(f"gate failed: {gate.line()}", file=sys.stderr)
    return gates.FAILED if verdict.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
