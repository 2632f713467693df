"""Reading the artefact directory. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class ArtifactError(ValueError):
    """An artefact is missing or is not what the contract says: one line that names it and the remedy."""


def read(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ArtifactError where it is missing or broken."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}); run the stage that writes it") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON ({error}); run the stage that writes it again") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} is not a JSON object; run the stage that writes it again")
    return content


def read_optional(path: Path) -> dict[str, Any] | None:
    """The same, or None where there is no such file."""
    return read(path) if path.is_file() else None


@contextmanager
def same_version(what: Path | str) -> Iterator[None]:
    """Whatever is looked up in artefacts inside: a key that is not there makes them those of another version."""
    try:
        yield
    except ArtifactError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ArtifactError(
            f"{what} is of another version ({type(error).__name__}: {error}); run the stages again"
        ) from error
