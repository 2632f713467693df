# ruff: noqa: N999
"""gunicorn's configuration; the values come from the environment (`service.settings`)."""

import atexit
import gc
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
from typing import Any

# In memory where that is possible: the workers' metrics, and their heartbeat (on a disk it can stall a worker).
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # it must be known before prometheus_client is imported
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics = tempfile.mkdtemp(prefix="kws-metrics-", dir=worker_tmp_dir)
    _owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(_metrics, ignore_errors=True) if os.getpid() == _owner else None)

from prometheus_client.multiprocess import mark_process_dead  # noqa: E402

from service import metrics, readiness  # noqa: E402
from service.logs import JSONLogger  # noqa: E402

if readiness.current is None:
    try:
        readiness.current = readiness.judged()
    except readiness.NOT_SERVED as error:
        print(f"service: {error}", file=sys.stderr)
        sys.exit(2)
settings, model = readiness.current

wsgi_app = "service.app:create_app()"
_everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104  # only where it is asked for
bind = f"[{_everywhere if settings.host == '*' else settings.host}]:{settings.port}"  # any host may be in brackets
worker_class = "service.connections.Worker"
http_parser = "python"  # gunicorn_h1c is no wheel, and closes where over 64 kB come before an answer is out
asgi_loop = "uvloop"  # which also shares connections evenly among the workers
asgi_lifespan = "off"
workers, timeout, graceful_timeout = settings.workers, settings.timeout, settings.graceful_timeout
keepalive = settings.keepalive
limit_request_line = min(8190, settings.max_header_bytes)
limit_request_fields, limit_request_field_size = settings.max_headers, settings.max_header_bytes
websocket_max_message_size = 64 * 1024  # bytes
_, _files = resource.getrlimit(resource.RLIMIT_NOFILE)  # each connection is one
resource.setrlimit(resource.RLIMIT_NOFILE, (_files, _files))
worker_connections = settings.max_connections if _files < 0 else min(settings.max_connections, max(16, _files - 64))
control_socket_disable = True  # it wants a home, which a container lacks
logger_class, loglevel = JSONLogger, settings.log_level


def when_ready(server: Any) -> None:
    """Let the kernel end what nobody reads, and judge a new model before the workers of the old one go."""
    for listener in server.LISTENERS:
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * settings.request_timeout)

    def reload_when_judged() -> None:
        try:
            readiness.current = readiness.judged(reload=True)
        except readiness.NOT_SERVED as error:
            server.log.error("not reloaded, the former model is served on: %s", error)
        else:
            type(server).reload(server)

    server.reload = reload_when_judged


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker a place, whose metrics it goes on with, and much memory to share."""
    taken = {other.place for other in server.WORKERS.values()}
    worker.place = metrics.place = next(place for place in range(len(taken) + 1) if place not in taken)
    # What is loaded by now stays for good; collecting garbage among it would copy page after page in each worker.
    gc.freeze()


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Until its loop runs, a worker ends at once at what is to stop it, also if that came before it stands here."""
    stops = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}
    for number in stops:
        signal.signal(number, lambda *_: os._exit(0))
    # The main process's handler, which the fork inherits, has put there what came before.
    if stops.intersection(server.SIG_QUEUE.get() for _ in range(server.SIG_QUEUE.qsize())):
        os._exit(0)


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Forget what the worker had in flight."""
    mark_process_dead(worker.place)


def post_worker_init(worker: Any) -> None:
    """Load the model in the worker, before it accepts its first connection."""
    info = (state := worker.asgi.state).load(model)
    metrics.MODEL.labels(info.version, info.revision, info.sha256).set(1)
    worker.log.error_log.info("model loaded", extra={"fields": readiness.identity(info)})
    getattr(worker.log, state.level)("%s: %s", "ready" if state.passes else "not ready", state.summary)
    worker.log.keep_stderr()
    gc.freeze()  # the model's libraries and the application, too
