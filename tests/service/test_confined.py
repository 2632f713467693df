"""As in a hardened container: not root, no capabilities, nothing writable but /tmp and /dev/shm."""

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
TOUCH = "for place in / /var/tmp $HOME $PWD; do touch $place/file 2>/dev/null && echo $place; done; touch /tmp/file"


def test_it_serves_confined(tmp_path: Path, tone_model_path: Path) -> None:
    if {True} & {needed.is_relative_to("/tmp") for needed in (Path.cwd(), Path(sys.executable))}:  # noqa: S108
        pytest.skip("this tree or its Python lies below /tmp, which the confined process has for itself: not run")
    scratch = save_samples(tmp_path / "tmp")  # what the confined process sees as /tmp
    shutil.copy(tone_model_path, scratch / "model.onnx")
    confined = [*NAMESPACE, CONFINE, str(scratch)]
    trial = subprocess.run([*confined, "sh", "-c", TOUCH], capture_output=True, text=True, check=False)
    if trial.returncode:
        pytest.skip(f"no user namespaces here: {trial.stderr.strip()}")
    assert trial.stdout == ""
    assert (scratch / "file").exists()  # it confines
    before = set(scratch.iterdir())
    # A home that can be written: nothing may be left there either (ONNX Runtime's telemetry would).
    command = [*confined, "env", "HOME=/tmp", *COMMAND]
    server = Server(tmp_path, Path("/tmp/model.onnx"), command=command, samples="/tmp")  # noqa: S108
    try:
        for pid in (server.process.pid, *server.workers()):
            status = Path(f"/proc/{pid}/status").read_text()
            assert set(re.findall(r"^Cap\w+:\s+(\w+)", status, re.MULTILINE)) == {"0" * 16}
            assert "NoNewPrivs:\t1" in status
        # Longer than what any layer keeps in memory by itself.
        form = {"file": ("yes.wav", wav("yes", 20.0, 44_100, 2))}
        assert httpx.post(f"{server.url}/predict", files=form, **LOCAL).json()["prediction"] == "yes"
        assert server.status("/metrics") == server.status("/") == 200
    finally:
        assert server.stop() == 0
    assert not any(line["level"] in ("warning", "error", "critical") for line in server.log())
    assert set(scratch.iterdir()) == before
