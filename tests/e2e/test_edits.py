"""The table of edits against the stages that ran for each, from the engine's own record."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import record
from .conftest import ROOT, dagger

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]

TRAINING = {"model data", "model train", "model clips"}
INSTALLING = {"tools/install.py model", "tools/install.py service", "tools/install.py probe"}
JUDGING = {"tools.bounds", "tools.report"}


@dataclass(frozen=True)
class Edit:
    """Files that get another line; what must run, and what must not; the bound in seconds on a machine of one's own."""

    files: tuple[str, ...]
    line: str
    runs: frozenset[str]
    never: frozenset[str]
    seconds: float


ALL = frozenset(TRAINING | INSTALLING | {"service.probe", "/start_time.py"})
EDITS = {
    "nothing": Edit((), "", frozenset(), ALL | JUDGING, 15),  # 8 is aimed at: docs/scale.md has what stands in the way
    "README, docs, tests": Edit(
        ("README.md", "docs/model.md", "tests/tools/test_gates.py"), "\n", frozenset(), ALL | JUDGING, 30
    ),
    "gates.toml": Edit(("gates.toml",), "# edited\n", frozenset(JUDGING), ALL, 30),
    "ci/": Edit(("ci/src/kws_ci/stages.py",), "# edited\n", frozenset(), ALL | JUDGING, 60),
    "service/": Edit(
        ("service/app.py",),
        "# edited\n",
        frozenset({"service.probe", "/start_time.py", "tools.report"}),
        frozenset(TRAINING | INSTALLING),
        60,
    ),
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, as someone who edits has it."""
    folder = tmp_path_factory.mktemp("edits") / "checkout"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def pipeline(checkout: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], record.Record]:
    """The pipeline in the checkout, warm: it has run once before."""
    output = tmp_path_factory.mktemp("edited") / "artifacts"

    def run() -> record.Record:
        call = ["call", "pipeline", f"--dataset={dataset}", "--profile=quick", "--output", str(output)]
        done = dagger(*call, folder=checkout)
        assert done.returncode == 0, done.stderr[-6000:]
        return record.read(done.stderr)

    run()
    return run


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A row an edit; written to where KWS_EDIT_TABLE says, for those who keep it."""
    rows: list[str] = []
    yield rows
    text = "| edit | seconds | ran | not again |\n| --- | ---: | --- | --- |\n" + "\n".join(rows) + "\n"
    Path(os.environ.get("KWS_EDIT_TABLE", tmp_path_factory.mktemp("table") / "edits.md")).write_text(text)


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_runs_what_depends_on_it_alone(
    edit: Edit,
    pipeline: Callable[[], record.Record],
    checkout: Path,
    table: list[str],
    request: pytest.FixtureRequest,
) -> None:
    before = {name: (checkout / name).read_text() for name in edit.files}
    try:
        for name, text in before.items():
            (checkout / name).write_text(text + edit.line)
        busy = os.getloadavg()[0] > (os.cpu_count() or 1)
        began = time.monotonic()
        found = pipeline()
        spent = time.monotonic() - began
    finally:
        for name, text in before.items():
            (checkout / name).write_text(text)
    ran, rest = (", ".join(f"`{name}`" for name in sorted(names)) or "-" for names in (found.ran, found.cached))
    table.append(f"| {request.node.callspec.id} | {spent:.1f} | {ran} | {rest} |")
    assert edit.runs <= found.ran
    assert not edit.never & found.ran
    if busy:
        warnings.warn(f"{spent:.1f} s are no measurement: others were at work on this machine", stacklevel=1)
    else:
        assert spent < edit.seconds
