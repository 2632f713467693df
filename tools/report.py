"""Judge the artefacts and write the page about them: ``gates.json`` and ``report.md``. Standard library only."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from model import summary
from model.errors import UserError
from tools import gates


def main() -> int:
    """Exit code 0: every gate held; 3: one failed (the files are written all the same); 2: nothing to judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifacts", type=Path, help="the artefact directory: model/, inference/, image/")
    parser.add_argument("--min-accuracy", type=float, required=True, help="on the test split, from 0 to 1")
    options = parser.parse_args()
    try:
        verdict = gates.judge(options.artifacts, options.min_accuracy)
        gates.write(verdict, options.artifacts / "gates.json")
        page = summary.write(options.artifacts)
    except (gates.ArtifactError, UserError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(page)
    failed = [gate for gate in verdict if not gate.passed]
    for gate in failed:
        print(f"gate failed: {gate.line()}", file=sys.stderr)
    return gates.FAILED if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
