"""The module wherever it lies: in a folder of a larger repository, a worktree, a shallow clone, on a remote engine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from . import record
from .conftest import PIPELINE, ROOT, Call, Run, dagger

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]
HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
COMMIT = ["-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "--message=all"]


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def copy(folder: Path) -> Path:
    """The tracked files and those that git would track, as someone has them who copies the project."""
    for name in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another repository, with the project in services/kws and files at its top that are not to be taken for ours."""
    top = tmp_path_factory.mktemp("larger")
    copy(top / "services" / "kws")
    for name in ("gates.toml", "pyproject.toml", "uv.lock", "CHANGELOG.md", "osv-scanner.toml"):
        (top / name).write_text("not ours\n")
    for name in ("model", "service", "kws", "release", "tools"):
        (top / name).mkdir()
        (top / name / "__init__.py").write_text("raise SystemExit('not ours')\n")
    git(top, "init", "--quiet")
    git(top, "add", "--all")
    git(top, *COMMIT)
    return top


@pytest.mark.parametrize("place", ["services/kws", "."], ids=["from inside", "from above"])
def test_a_folder_of_a_larger_repository(larger: Path, call: Call, dataset: Path, tmp_path: Path, place: str) -> None:
    above = ["-m", "services/kws"] if place == "." else []
    arguments = [*above, f"--dataset={dataset}", "--profile=quick", "--training=epochs=1", "train"]
    call(*arguments, "export", f"--path={tmp_path}", folder=larger / place)
    metrics = json.loads((tmp_path / "train_metrics.json").read_text())
    assert metrics["revision"] == git(larger, "rev-parse", "HEAD")


PLACES = {"worktree": "worktree add --quiet --detach", "shallow": "clone --quiet --depth=1 file://TOP", "no git": ""}


@pytest.mark.parametrize("made", PLACES.values(), ids=PLACES)
def test_other_checkouts(larger: Path, call: Call, tmp_path: Path, made: str) -> None:
    place = tmp_path / "sp ace"  # brackets are a pattern to the engine: it finds no file there
    if made:
        git(larger, *made.replace("TOP", str(larger)).split(), str(place))
    else:
        shutil.copytree(larger, place, ignore=shutil.ignore_patterns(".git"))
    arguments = ["shell", "--stage=TRAIN", "with-exec", "--args=python,-m,model,--help", "stdout"]
    assert "train" in call(*arguments, folder=place / "services" / "kws").stdout


EDITS = {
    "README, docs, tests": (("README.md", "docs/model.md", "tests/ci/graph.py"), set()),
    "gates.toml": (("gates.toml",), {"release judge"}),
    "service/": (("service/app.py",), {"service.test_client", "regctl image mod"}),
    "kws/": (("kws/audio.py",), {"model train", "service.test_client", "regctl image mod"}),
}


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory, shared: list[str], call: Call) -> Callable[[], set[str]]:
    """The pipeline in a copy, warm: it has run once before."""
    folder = copy(tmp_path_factory.mktemp("edits") / "checkout")
    git(folder, "init", "--quiet")

    def run() -> set[str]:
        return record.read(call(*shared, *PIPELINE, "sync", folder=folder).stderr)[0]

    run.folder = folder  # type: ignore[attr-defined]
    run()
    return run


@pytest.mark.parametrize(("files", "runs"), EDITS.values(), ids=EDITS)
def test_an_edit_runs_what_depends_on_it_alone(
    edited: Callable[[], set[str]], files: tuple[str, ...], runs: set[str]
) -> None:
    for name in files:
        path = edited.folder / name  # type: ignore[attr-defined]
        path.write_text(path.read_text() + "\n# edited\n")
    ran = edited()
    assert runs <= ran
    assert not ({"model train", "service.test_client", "regctl image mod"} - runs) & ran
    assert not [name for name in ran if name.startswith("tools/install.py")]


@pytest.fixture
def remote() -> Iterator[str]:
    """``tcp://…`` of this machine's engine: what comes in there goes on to its socket."""
    local = os.environ.get(HOST, "")
    if not local.startswith("unix://"):
        pytest.skip(f"{HOST} is no unix:// address: no engine here to put on a port")
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(local.removeprefix("unix://"))
                for source, target in ((client, engine), (engine, client)):
                    threading.Thread(target=forward, args=(source, target), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def test_a_remote_engine_gives_the_same_model(
    first_run: Run, shared: list[str], remote: str, tools: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOST, remote)
    done = dagger("call", *tools, *shared, "train", "export", f"--path={tmp_path}")
    assert done.returncode == 0, done.stderr[-6000:]
    # Nothing trains again: the engine is the same, only the way to it is another.
    assert "model train" in record.read(done.stderr)[1]
    assert (tmp_path / "model.onnx").read_bytes() == (first_run.artifacts / "model/model.onnx").read_bytes()
