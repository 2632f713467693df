"""What a run tells: plain lines on stdout, the same with times in a log file, and bars where there is a terminal."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

log = logging.getLogger("model")

_console = Console(soft_wrap=True, highlight=False, markup=False)


class _ConsoleHandler(logging.Handler):
    """Prints above a bar that is being drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        _console.print(self.format(record))


def set_up() -> None:
    """Send the package's log records to stdout."""
    log.handlers = [_ConsoleHandler()]
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


@contextmanager
def bar(what: str, scale: int = 1) -> Iterator[Callable[[int, int], None]]:
    """A progress bar: call what it gives with (done, total). Without a terminal, a line at each fourth of each total.

    ``scale`` divides the numbers shown (1,000,000 for bytes as MB).
    """
    told: set[tuple[int, int]] = set()
    with Progress(console=_console, transient=True, disable=not _console.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total or None)
            quarter = (total, done * 4 // total if total else 0)
            if not _console.is_terminal and quarter not in told:
                told.add(quarter)
                log.info("%s: %d of %s", what, done // scale, total // scale if total else "?")

        yield show
