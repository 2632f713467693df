"""`python -m service`: start gunicorn with this folder's configuration."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    config = Path(__file__).resolve().with_name("gunicorn.conf.py")
    arguments = ["-m", "gunicorn", "--config", str(config), *sys.argv[1:]]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606
