"""Logs as JSON lines: the server's and the application's on stderr, one line a request on stdout."""

import faulthandler
import json
import logging
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

from gunicorn.glogging import Logger


def _line(seconds: float, **fields: Any) -> str:
    when = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": when, **fields}, ensure_ascii=False)


class JSONFormatter(logging.Formatter):
    """One JSON object a line; what `extra={"fields": {...}}` holds is added to it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        if record.exc_info:
            fields = fields | {"exception": self.formatException(record.exc_info)}
        level, message = record.levelname.lower(), record.getMessage()
        return _line(record.created, level=level, pid=record.process, message=message, **fields)


class JSONLogger(Logger):
    """gunicorn's logger, by which the service logs too, with JSON lines; `access` tells of requests."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JSONFormatter())

    def keep_stderr(self) -> None:
        """Keep stderr for JSON lines and a crash's last words: libmpg123 writes of every oddity of an MP3 there."""
        own = os.fdopen(os.dup(sys.stderr.fileno()), "w")
        for handler in self.error_log.handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                handler.setStream(own)
        faulthandler.enable(own)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def access(asked: Any, status: int, size: int) -> None:
    """Tell of one answered `asgi.Request`: never audio, query strings, or headers but the request id."""
    told = {"request_id": asked.id, "remote": asked.client, "method": asked.method, "path": asked.path}
    told |= {"status": status, "bytes": size, "ms": round((time.perf_counter() - asked.begin) * 1e3, 3)}
    line = _line(time.time(), message="request", **told)
    sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()
