"""What a run tells: plain lines on stdout, and the same with times in a log file."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("model")


def set_up() -> None:
    """Send the package's log records to stdout."""
    logging.raiseExceptions = False  # a pipe that was closed is no fault
    log.handlers = [logging.StreamHandler(sys.stdout)]
    log.setLevel(logging.INFO)
    log.propagate = False


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


def progress(what: str, scale: int = 1) -> Callable[[int, int], None]:
    """Call what it gives with (done, total): it logs a line at each tenth of a total.

    ``scale`` divides the numbers shown (1,000,000 for bytes as MB).
    """
    told: set[tuple[int, int]] = set()

    def show(done: int, total: int) -> None:
        tenth = (total, done * 10 // total if total else 0)
        if tenth not in told:
            told.add(tenth)
            log.info("%s: %d of %s", what, done // scale, total // scale if total else "?")

    return show
