"""`python -m service.healthcheck`: exit code 0 when the service on this machine is ready, else 1.

A container runs it every few seconds: little of the standard library, nothing else.
"""

import os
import socket
import sys

_EVERYWHERE = {"*": "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def status(host: str, port: int) -> int:
    """The HTTP status of `GET /readyz`. Raises OSError, ValueError (what answers is not HTTP)."""
    with socket.create_connection((host, port), timeout=3.0) as connection:
        connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = connection.makefile("rb").readline(64)
    if not answer.startswith(b"HTTP/"):
        raise ValueError("not an HTTP answer")
    return int(answer.split(b" ", 2)[1])


if __name__ == "__main__":
    listening = (os.environ.get("KWS_HOST") or "127.0.0.1").strip().strip("[]")
    try:
        port = int(os.environ.get("KWS_PORT") or os.environ.get("PORT") or 8000)
        if (found := status(_EVERYWHERE.get(listening, listening), port)) != 200:
            raise ValueError(f"/readyz answered {found}")
    except (OSError, ValueError) as error:
        sys.exit(f"healthcheck: {error}")
