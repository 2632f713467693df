"""Print a TCP port of 127.0.0.1 that is free now, so that a test never meets another server on a fixed one."""

import socket


def free_port() -> int:
    """Such a port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    print(free_port())
