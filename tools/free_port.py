"""Print a TCP port of 127.0.0.1 that is free now, so that a test never meets another server on a fixed one."""

import socket

if __name__ == "__main__":
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        print(listener.getsockname()[1])
