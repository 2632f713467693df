"""What a run tells: plain lines on stdout, and the same with times in a log file."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

log = logging.getLogger("model")


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Also write what is logged to a file, with times (UTC) and levels; what ends it early is its last line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    log.addHandler(handler)
    try:
        yield
    except BaseException as error:
        handler.emit(log.makeRecord(log.name, logging.ERROR, "", 0, str(error) or type(error).__name__, (), None))
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


def track(parts: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """The parts as they come, of about so many; a line of the log at each tenth."""
    for done, part in enumerate(parts, 1):
        if done * 10 // total > (done - 1) * 10 // total:
            log.info("%s: %d of %d", what, done, total)
        yield part
