"""As in a hardened container: not root, no capabilities, nothing writable but /tmp and /dev/shm."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from .server import COMMAND, LOCAL, Server
from .tones import save_samples, wav

USER = 10001
NAMESPACE = ["unshare", "--user", f"--map-user={USER}", f"--map-group={USER}", "--mount", "--keep-caps", "sh", "-ec"]
CONFINE = (
    'mount --bind "$0" /tmp; mount -t tmpfs tmpfs /dev/shm; mount -o remount,bind,ro /; '
    'exec setpriv --no-new-privs --ambient-caps=-all --inh-caps=-all --bounding-set=-all "$@"'
)


def confined(scratch: Path, *command: str) -> list[str]:
    return [*NAMESPACE, CONFINE, str(scratch), *command]


@pytest.fixture
def scratch(tmp_path: Path, tone_model_path: Path) -> Path:
    """What the confined process sees as /tmp."""
    for needed in (Path.cwd(), Path(sys.executable)):
        if needed.is_relative_to("/tmp"):  # noqa: S108
            pytest.skip(f"{needed} lies below /tmp, which the confined process has for itself: not run")
    folder = tmp_path / "tmp"
    save_samples(folder)
    shutil.copy(tone_model_path, folder / "model.onnx")
    trial = subprocess.run(confined(folder, "true"), capture_output=True, text=True, check=False)
    if trial.returncode:
        pytest.skip(f"no user namespaces here: {trial.stderr.strip()}")
    return folder


def test_the_confinement_confines(scratch: Path) -> None:
    script = (
        "for place in / /var/tmp $HOME $PWD; do touch $place/file 2>/dev/null && echo $place; done; touch /tmp/file"
    )
    run = subprocess.run(confined(scratch, "sh", "-c", script), capture_output=True, text=True, check=True)
    assert run.stdout == ""
    assert (scratch / "file").exists()


def test_it_serves_confined(scratch: Path, tmp_path: Path) -> None:
    # A home that can be written: nothing may be left there either (ONNX Runtime's telemetry would).
    command = confined(scratch, "env", "HOME=/tmp", *COMMAND)
    before = set(scratch.iterdir())
    with Server(tmp_path, Path("/tmp/model.onnx"), command=command, samples="/tmp") as server:  # noqa: S108
        for pid in (server.process.pid, *server.workers()):
            status = Path(f"/proc/{pid}/status").read_text()
            assert set(re.findall(r"^Cap\w+:\s+(\w+)", status, re.MULTILINE)) == {"0" * 16}
            assert "NoNewPrivs:\t1" in status
        # Longer than what any layer keeps in memory by itself.
        form = {"file": ("yes.wav", wav("yes", 20.0, 44_100, 2))}
        answer = httpx.post(f"{server.url}/predict", files=form, timeout=30, **LOCAL)
        assert answer.json()["prediction"] == "yes"
        assert httpx.get(f"{server.url}/metrics", **LOCAL).status_code == 200
        assert httpx.get(f"{server.url}/", **LOCAL).status_code == 200
        assert server.stop() == 0
        assert not any(line["level"] in ("warning", "error", "critical") for line in server.log())
    assert set(scratch.iterdir()) == before
