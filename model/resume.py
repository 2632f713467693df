"""The state of a run that is under way, so that another process can go on with it after a kill at any moment.

It lies in a folder beside the output (``artefacts.resume_folder``): written whole after each epoch, removed at the end.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from model import features, files
from model.errors import UserError, differences
from model.settings import option_name

_STATE = "state.pt"


class Keeper:
    """Keeps one run's state. ``identity`` is what must be the same for the result to be: plain values by name."""

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._path = folder / _STATE
        self._identity = identity

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state that is kept."""
        buffer = io.BytesIO()
        torch.save({"identity": self._identity, "state": state}, buffer)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(self._path, buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """The state that is kept, on the CPU; None where there is none.

        Raises:
            UserError: it is of a run with other settings, data or versions (named), or cannot be read.
        """
        try:
            content = torch.load(self._path, map_location="cpu", weights_only=True)
            identity, state = content["identity"], content["state"]
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise UserError(f"--resume: '{self._path}' cannot be read ({error}); remove it to start anew") from error
        if different := differences(identity, self._identity):
            raise UserError(
                f"--resume: '{self._path}' is of a different run ({different}); "
                "give the same options, or train without --resume"
            )
        return dict(state)


def identity_of(settings: dict[str, Any], data_digest: str, processes: int, device: str) -> dict[str, Any]:
    """What the result of a run depends on, by the names that a user knows."""
    return {
        **{option_name(name): value for name, value in settings.items()},
        **features.FRONT_END,
        "data digest": data_digest,
        "processes": processes,
        "device": device,
        "torch": str(torch.__version__),
    }
