"""What `tools/dagger_engine` says of an engine, and how it stops one; the programs that it calls are stand-ins."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "dagger_engine"
SHELL = ("basename", "cat", "dirname", "mkdir", "seq", "tail")  # of this machine; all else is a stand-in


def engine(folder: Path, verb: str, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run the script where only these programs are, each a line of shell."""
    programs = {"id": "echo 0", "curl": "exit 0", "rm": "echo removed >$FOLDER/started", **programs}
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
LOADS = [
    ("echo 'Error: tls: x509: certificate signed by unknown authority' >&2; exit 1", "a CA is not known: put it"),
    ("echo 'Error: failed to import full sdk source for sdk python from engine'; exit 1", "DAGGER_PYTHON_SDK_MANIF"),
    ("echo 'go: github.com/a/b: dial tcp: connection refused'; exit 1", "_DAGGER_ENGINE_SYSTEMENV_GOPROXY"),
    ("echo 'python:3.13-slim: failed to resolve source metadata'; exit 1", "has library/python:3.13-slim"),
    ("echo '! uv sync: exit code: 2'; exit 1", "ci/pyproject.toml names no index"),
    ("printf 'a\\nthe moon is full\\n'; exit 1", "the moon is full"),
]


@pytest.mark.parametrize(("dagger", "said"), LOADS)
def test_an_engine_that_loads_no_module_is_told_with_the_remedy(tmp_path: Path, dagger: str, said: str) -> None:
    done = engine(tmp_path, "start", dagger=dagger)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("engine: the engine answers and cannot load a Python module. ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_engine_that_does_is_named(tmp_path: Path) -> None:
    done = engine(tmp_path, "start", dagger='echo "$PWD $*" >$FOLDER/asked')
    assert done.stdout == "export _EXPERIMENTAL_DAGGER_RUNNER_HOST=unix:///run/dagger/engine.sock\n"
    assert (tmp_path / "asked").read_text() == f"{SCRIPT.parents[1]} --progress=plain functions\n"


def test_what_is_missing_is_named_before_anything_is_started(tmp_path: Path) -> None:
    """The registry answers, the engine does not."""
    assert "dagger is not installed" in engine(tmp_path, "start").stderr
    silent = 'case "$*" in *unix-socket*) exit 7 ;; esac'
    done = engine(tmp_path, "start", dagger="", curl=silent, runc="", setsid="echo started >$FOLDER/started")
    assert done.returncode == 1
    assert " lacks dagger-engine dagger-init dnsmasq git iptables" in done.stderr
    assert "runc" not in done.stderr
    assert not (tmp_path / "started").exists()


def test_an_engine_that_is_slow_to_answer_is_waited_for(tmp_path: Path) -> None:
    """On a busy machine: it is not started twice, and keeps its socket."""
    (tmp_path / "ENGINE_RUN").mkdir()
    (tmp_path / "ENGINE_RUN" / "engine.pid").write_text(f"{os.getpid()}\n")
    slow = 'case "$*" in *unix-socket*) printf . >>$FOLDER/asked; [ $(wc -c <$FOLDER/asked) -ge 4 ] ;; esac'
    started = "echo started >$FOLDER/started"
    done = engine(tmp_path, "start", dagger="", curl=slow, setsid=started, sleep="", wc="exec /usr/bin/wc -c")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "started").exists()


WRITES = """
import os, signal, sys, time
def stop(*_):
    while os.path.getsize("waits") < 200: time.sleep(0.01)
    open("index", "w").close()
    sys.exit()
signal.signal(signal.SIGTERM, stop)
open("waits", "w").close()
while True: time.sleep(0.05)
"""


def test_stop_waits_for_an_engine_that_writes_its_cache_down(tmp_path: Path) -> None:
    """It is done when the script has waited two hundred times; were it killed before, there would be no index."""
    running = subprocess.Popen([sys.executable, "-c", WRITES], cwd=tmp_path, start_new_session=True)
    threading.Thread(target=running.wait).start()  # a process that nobody waits for looks alive
    (tmp_path / "ENGINE_RUN").mkdir()
    (tmp_path / "ENGINE_RUN" / "engine.pid").write_text(f"{running.pid}\n")
    while not (tmp_path / "waits").exists():
        time.sleep(0.01)
    done = engine(tmp_path, "stop", sleep="printf . >>$FOLDER/waits; /bin/sleep 0.01")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index").exists()
