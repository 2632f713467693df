"""Errors that a user can cause and mend, as opposed to faults of the program."""

import re
import signal
from collections.abc import Mapping
from typing import Any


class UserError(Exception):
    """Bad input, exit code 2; the message is one line that names the input and the remedy."""


class ParityError(Exception):
    """The exported model does not compute what the trained one does: exit code 1, nothing is written."""


class CheckFailed(Exception):  # noqa: N818 - the program did what was asked; the answer is no
    """A check says no: exit code 3, a line for each finding, which are the arguments; what was written stays."""


class Interrupted(BaseException):
    """SIGTERM or SIGINT arrived: unwinds the stack, so that temporary files are removed on the way."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}; the output is as it was")
        self.signum = signum


def first_sentence(error: Exception) -> str:
    """The first sentence of a library's error; PyTorch's go on for paragraphs, with advice that does not help here."""
    return re.split(r"\.\s|\n", str(error).strip(), maxsplit=1)[0] or type(error).__name__


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What differs between two runs, for a message; empty where nothing does."""
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    return "; ".join(f"{name} {there.get(name)} there, {here.get(name)} here" for name in names)
