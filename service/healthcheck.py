"""`python -m service.healthcheck`: exit code 0 when the service on this machine is ready, else 1.

Standard library only, and little of it: a container runs this every few seconds.
"""

import os
import socket
import sys

TIMEOUT_SECONDS = 3.0


def status(host: str, port: int) -> int:
    """The HTTP status of `GET /readyz`.

    Raises:
        OSError: nothing listens there, or it does not answer within `TIMEOUT_SECONDS`.
        ValueError: what answers is not HTTP.
    """
    with socket.create_connection((host, port), TIMEOUT_SECONDS) as connection:
        connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = connection.makefile("rb").readline(64)
    protocol, code = answer.split(b" ", 2)[:2]
    if not protocol.startswith(b"HTTP/"):
        raise ValueError("not an HTTP answer")
    return int(code)


def main() -> int:
    """Check, and say on stderr what is wrong."""
    try:
        code = status("127.0.0.1", int(os.environ.get("KWS_PORT") or 8000))
    except (OSError, ValueError) as error:
        print(f"healthcheck: {error}", file=sys.stderr)
        return 1
    if code != 200:
        print(f"healthcheck: /readyz answered {code}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
