"""The time from a process's start to its first 200."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SERVER = """
import http.server, sys, time
time.sleep(float(sys.argv[2]))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        Handler.asked = getattr(Handler, "asked", 0) + 1
        self.send_response(200 if Handler.asked > 2 else 503)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def measure(tmp_path: Path, *command: str, options: tuple[str, ...] = ()) -> tuple[int, dict[str, object]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    output = tmp_path / "start.json"
    arguments = [f"--url=http://127.0.0.1:{port}/", f"--output={output}", *options, "--"]
    program = [sys.executable, "tools/start_time.py", *arguments, *(part.replace("PORT", port) for part in command)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(output.read_text())


def test_it_waits_for_a_200_and_the_median_counts(tmp_path: Path) -> None:
    code, found = measure(tmp_path, sys.executable, "-c", SERVER, "PORT", "0.3")
    runs = found["runs"]
    assert isinstance(runs, list)
    assert code == 0
    assert (len(runs), found["error"]) == (3, "")
    assert min(runs) >= 0.3
    assert found["seconds"] == sorted(runs)[1]


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ((sys.executable, "-c", "raise SystemExit(7)"), (), "the service ended with exit code 7"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), ("--timeout=0.3",), "did not answer 200 within 0.3 s"),
        (("no-such-program",), (), "No such file"),
    ],
)
def test_a_service_that_is_never_ready_is_said_so(
    tmp_path: Path, command: tuple[str, ...], options: tuple[str, ...], message: str
) -> None:
    code, found = measure(tmp_path, *command, options=options)
    assert (code, found["seconds"]) == (1, None)
    assert message in str(found["error"])
