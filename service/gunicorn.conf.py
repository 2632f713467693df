# ruff: noqa: N999
"""gunicorn's configuration; the values come from the environment (`service.settings`)."""

import atexit
import contextlib
import ctypes
import gc
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_here = Path(__file__).resolve().parent
# gunicorn's own command does not look for packages in the working directory yet when it reads this file.
sys.path.insert(0, str(_here.parent))

# The workers inherit what is imported here, which saves them memory and time, and one thread is all they need.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# glibc gives each thread a heap of its own and keeps large blocks in it: memory creeps up under changing requests. Two
# heaps a process, and large blocks given back when they are freed (a fixed threshold, which it would raise by itself).
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
with contextlib.suppress(AttributeError, OSError):  # another C library
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 128 * 1024)

# In memory where that is possible: the workers' metrics, and their heartbeat (on a disk it can stall a worker).
_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
# Must be known before prometheus_client is imported.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="kws-metrics-", dir=_memory)

    def _remove_metrics(folder: str = os.environ["PROMETHEUS_MULTIPROC_DIR"], owner: int = os.getpid()) -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(_remove_metrics)

from prometheus_client.multiprocess import mark_process_dead  # noqa: E402

from service.app import load_model  # noqa: E402
from service.logs import JSONLogger  # noqa: E402
from service.modelfile import ModelError, read_model  # noqa: E402
from service.settings import Settings, SettingsError  # noqa: E402
from service.worker import Connections, Worker  # noqa: E402

try:
    settings = Settings.from_env()
    read_model(settings.model, settings.model_sha256)
except (SettingsError, ModelError) as error:
    prefix = "KWS_MODEL: " if isinstance(error, ModelError) else ""
    print(f"service: {prefix}{error}", file=sys.stderr)
    sys.exit(2)

wsgi_app = "service.app:create_app()"
pythonpath = str(_here.parent)
bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"

worker_class = "service.worker.Worker"
Worker.queue = settings.queue
Worker.request_timeout = settings.request_timeout
Worker.connections = Connections(2 * settings.workers)  # at a reload the new ones start before the old ones stop
workers = settings.workers
threads = settings.threads
# A worker that inherits ONNX Runtime, even only its import, aborts or hangs at its end.
preload_app = False
timeout = settings.timeout
graceful_timeout = settings.graceful_timeout
keepalive = settings.keepalive
limit_request_line = 2048
limit_request_fields = 64
limit_request_field_size = 4096

if _memory:
    worker_tmp_dir = _memory
# It wants a home, which a container lacks.
control_socket_disable = True

logger_class = JSONLogger
loglevel = settings.log_level
accesslog = "-" if settings.access_log else None

# The first worker that cannot load the model takes this token, tells, and ends the service. The others wait for
# that: gunicorn 27.0.1 falls over with a traceback when a second worker fails while it stops for the first.
_token_read, _token_write = os.pipe()
os.set_blocking(_token_read, False)
os.write(_token_write, b"!")


def on_starting(server: Any) -> None:
    """Refuse what would break at the workers' end."""
    if server.cfg.preload_app or "onnxruntime" in sys.modules:
        print("service: --preload is not supported: ONNX Runtime does not survive a fork", file=sys.stderr)
        sys.exit(2)


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker a place among those that share the connections, and much memory to share."""
    worker.place = worker.connections.free({other.place for other in server.WORKERS.values()})
    # What is loaded by now stays for good; collecting garbage among it would copy page after page in each worker.
    gc.freeze()


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Let a request run on when others arrive: fewer switches between threads, a tenth more requests a second."""
    with contextlib.suppress(AttributeError, OSError):  # not Linux; not allowed
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def pre_request(worker: Any, req: Any) -> None:  # noqa: ARG001
    """Let the application end the connection after a body that it leaves unread (`service.http`)."""
    req.body.close_connection = req.force_close
    req.unreader.sock.in_body = True


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Forget what the worker had in flight."""
    mark_process_dead(worker.pid)
    if worker.place is not None:
        worker.connections.leave(worker.place)


def post_worker_init(worker: Any) -> None:
    """Load the model in the worker, before it accepts its first connection."""
    try:
        info, verdict = load_model(worker.wsgi)
    except ModelError as error:
        try:
            os.read(_token_read, 1)
        except BlockingIOError:
            while worker.alive:
                time.sleep(0.05)
            sys.exit(0)
        worker.log.critical("KWS_MODEL: %s", error)
        sys.exit(3)  # "failed to boot": gunicorn stops instead of starting workers for ever
    fields = info.identity() | {"labels": info.labels}
    worker.log.error_log.info("model loaded", extra={"fields": fields})
    if not verdict.ready:
        worker.log.error("not ready: %s", verdict.summary)
    elif not verdict.checked or verdict.wrong:
        worker.log.warning("ready: %s", verdict.summary)
    else:
        worker.log.info("ready: %s", verdict.summary)
    worker.log.keep_stderr()
