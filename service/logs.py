"""Logs as JSON lines: the server's and the application's on stderr, one line a request on stdout."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger


class JSONFormatter(logging.Formatter):
    """One JSON object a line; what `extra={"fields": {...}}` holds is added to it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "pid": record.process,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class JSONLogger(Logger):
    """gunicorn's logger, with JSON lines: never audio, query strings, or headers but the request id."""

    def setup(self, cfg: Any) -> None:
        """Set the handlers up; also for the application's own log."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                handler.setFormatter(JSONFormatter())
        service = logging.getLogger("service")
        service.handlers = list(self.error_log.handlers)
        service.setLevel(self.loglevel)
        service.propagate = False

    def keep_stderr(self) -> None:
        """Keep stderr for JSON lines: libmpg123 writes about every oddity of an MP3 there, a sender's own.

        What Python says when a signal kills the process still gets there.
        """
        for handler in self.error_log.handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                own = os.fdopen(os.dup(sys.stderr.fileno()), "w")
                handler.setStream(own)
                faulthandler.enable(own)
                with Path(os.devnull).open("w") as nowhere:
                    os.dup2(nowhere.fileno(), sys.stderr.fileno())

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:  # noqa: ARG002
        """Log one answered request."""
        if not self.access_log_enabled:
            return
        request_id = next((value for name, value in resp.headers if name == "X-Request-ID"), None)
        fields = {
            "request_id": request_id,
            "remote": environ.get("REMOTE_ADDR"),
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("PATH_INFO"),
            "status": resp.status_code,
            "bytes": resp.sent,
            "ms": round(request_time.total_seconds() * 1e3, 3),
        }
        self.access_log.info("request", extra={"fields": fields})
