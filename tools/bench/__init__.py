"""What the service costs beside its peers (`python -m tools.bench`), and over a long time (`… tools.bench.soak`)."""

import socket


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
