"""What `tools/dagger_engine` says of an engine, and what it starts; the programs that it calls are stand-ins."""

import os
import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "dagger_engine"
SHELL = ("basename", "cat", "dirname", "mkdir", "seq", "tail")  # of this machine; all else is a stand-in
STARTED = "echo started >$FOLDER/started"


def engine(folder: Path, verb: str, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run the script where only these programs are, each a line of shell."""
    programs = {"id": "echo 0", "curl": "exit 0", "rm": STARTED, "setsid": STARTED, **programs}
    for name, does in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{does}\n")
        (folder / name).chmod(0o755)
    for name in SHELL:
        if not (folder / name).exists():
            (folder / name).symlink_to(str(shutil.which(name)))
    places = {f"KWS_{name}": str(folder / name) for name in ("ENGINE_RUN", "ENGINE_STATE", "REGISTRY_STORAGE")}
    variables = {"PATH": str(folder), "FOLDER": str(folder), **places}
    return subprocess.run(["/bin/bash", str(SCRIPT), verb], env=variables, capture_output=True, text=True, timeout=60)


# An engine that answers: what the load of the module prints, and what is said of it.
LOADS = {
    "echo 'Error: tls: x509: certificate signed by unknown authority' >&2": "a CA is not known: put it",
    "echo 'Error: failed to import full sdk source for sdk python'": "DAGGER_PYTHON_SDK_MANIF",
    "echo 'go: github.com/a/b: dial tcp: connection refused'": "_DAGGER_ENGINE_SYSTEMENV_GOPROXY",
    "echo 'python:3.13-slim: failed to resolve source metadata'": "has library/python:3.13-slim",
    "echo '! uv sync: exit code: 2'": "ci/pyproject.toml names no index",
    "printf 'a\\nthe moon is full\\n'": "the moon is full",
}


def test_an_engine_that_loads_no_module_is_told_with_the_remedy(tmp_path: Path) -> None:
    for dagger, said in LOADS.items():
        done = engine(tmp_path, "start", dagger=f"{dagger}; exit 1")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith("engine: the engine answers and cannot load a Python module. ")
        assert said in done.stderr
    done = engine(tmp_path, "start", dagger='echo "$PWD $*" >$FOLDER/asked')
    assert (tmp_path / "asked").read_text() == f"{SCRIPT.parents[1]} --progress=plain functions\n"
    assert done.stdout == "export _EXPERIMENTAL_DAGGER_RUNNER_HOST=unix:///run/dagger/engine.sock\n"


def test_what_is_missing_is_named_before_anything_is_started(tmp_path: Path) -> None:
    """The registry answers, the engine does not."""
    assert "dagger is not installed" in engine(tmp_path, "start").stderr
    silent = 'case "$*" in *unix-socket*) exit 7 ;; esac'
    done = engine(tmp_path, "start", dagger="", curl=silent, runc="")
    assert done.returncode == 1
    assert " lacks dagger-engine dagger-init dnsmasq git iptables" in done.stderr
    assert "runc" not in done.stderr
    assert not (tmp_path / "started").exists()


def test_an_engine_that_is_slow_to_answer_is_waited_for(tmp_path: Path) -> None:
    """On a busy machine: it is not started twice, and keeps its socket."""
    (tmp_path / "ENGINE_RUN").mkdir()
    (tmp_path / "ENGINE_RUN" / "engine.pid").write_text(f"{os.getpid()}\n")
    slow = 'case "$*" in *unix-socket*) printf . >>$FOLDER/asked; [ $(wc -c <$FOLDER/asked) -ge 4 ] ;; esac'
    done = engine(tmp_path, "start", dagger="", curl=slow, sleep="", wc="exec /usr/bin/wc -c")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "started").exists()
