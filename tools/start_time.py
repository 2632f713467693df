"""How long a service takes to be ready: start it, ask until it answers 200, stop it. Standard library only.

``python tools/start_time.py --output start_time.json -- gunicorn …`` runs inside the image that it measures.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def once(command: list[str], url: str, timeout: float) -> float:
    """Seconds from the start of the process to the first 200; it is gone afterwards. Raises OSError: never ready."""
    began = time.monotonic()
    with subprocess.Popen(command) as process:
        try:
            while not answers(url):
                if process.poll() is not None:
                    raise OSError(f"the service ended with exit code {process.returncode}")
                if time.monotonic() - began > timeout:
                    raise OSError(f"{url} did not answer 200 within {timeout:g} s")
                time.sleep(0.01)
            return round(time.monotonic() - began, 3)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=1).status == 200)  # noqa: S310 (the caller's own address)
    except OSError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000/readyz", help="answers 200 as soon as it is ready")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for each of three starts")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("command", nargs="+", help="the service's command line")
    options = parser.parse_args()
    result: dict[str, object] = {"seconds": None, "runs": [], "error": ""}
    try:
        runs = [once(options.command, options.url, options.timeout) for _ in range(3)]
        result |= {"seconds": statistics.median(runs), "runs": runs}
    except OSError as error:
        result["error"] = str(error)
        print(f"start_time: {error}", file=sys.stderr)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 1 if result["error"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
