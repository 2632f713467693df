"""`python -m service`: start gunicorn with this folder's configuration."""

import os
import sys
from pathlib import Path

_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # all that the workers need
    # With glibc's own, a heap a thread and a threshold that rises, memory creeps up under changing requests.
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(128 * 1024),
}

if __name__ == "__main__":
    config = Path(__file__).resolve().with_name("gunicorn.conf.py")
    arguments = ["-m", "gunicorn", "--config", str(config), *sys.argv[1:]]
    os.execve(sys.executable, [sys.executable, *arguments], _ENVIRONMENT | os.environ)  # noqa: S606
