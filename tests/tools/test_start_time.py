"""The time from a process's start to its first 200."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        self.send_response(200 if Handler.asked > 2 else 503)
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


STARTS = [
    ((sys.executable, "-c", SERVER, "PORT"), ""),
    ((sys.executable, "-c", "raise SystemExit(7)"), "the service ended with exit code 7"),
    ((sys.executable, "-c", "import time; time.sleep(600)"), "did not answer 200 within"),
    (("no-such-program",), "No such file"),
]


@pytest.mark.parametrize(("command", "message"), STARTS)
def test_it_waits_for_a_200_and_the_median_counts(tmp_path: Path, command: tuple[str, ...], message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    options = [f"--url=http://127.0.0.1:{port}/", f"--output={tmp_path / 'start.json'}"]
    options += ["--timeout=0.3"] if "200 within" in message else []
    program = [sys.executable, "tools/start_time.py", *options, "--", *(part.replace("PORT", port) for part in command)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    found: dict[str, Any] = json.loads((tmp_path / "start.json").read_text())
    assert "Traceback (" not in done.stderr
    assert message in found["error"]
    assert done.returncode == bool(message)
    assert found["seconds"] == (None if message else sorted(found["runs"])[1])
