"""The model file, as far as it can be judged without ONNX Runtime.

gunicorn's main process judges it so, to end with one line before any worker is forked.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


class ModelError(Exception):
    """The model file is missing, broken or not such a model; the message is one line that says which."""


def read_model(path: Path, sha256: str = "") -> bytes:
    """The bytes of the model file.

    Raises:
        ModelError: it cannot be read, is empty or has another digest.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    if not data:
        raise ModelError(f"{path} is empty")
    digest = hashlib.sha256(data).hexdigest()
    if sha256 and digest != sha256:
        raise ModelError(f"{path} has the SHA-256 {digest}, not {sha256}")
    return data
