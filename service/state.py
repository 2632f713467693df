"""What the views of one application share."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask, current_app

from .classifier import Classifier
from .problems import Problem
from .samples import Verdict
from .settings import Settings

_EXTENSION = "kws"


@dataclass
class State:
    """The settings, and the model once it is loaded and has classified the samples correctly.

    Attributes:
        settings: of the application.
        classifier: the model, None until it is ready.
        verdict: on the samples, None until they were classified.
    """

    settings: Settings
    classifier: Classifier | None = None
    verdict: Verdict | None = None

    def ready(self) -> Classifier:
        """The model.

        Raises:
            Problem: not-ready, it is not loaded or fails on the samples.
        """
        if self.classifier is None:
            detail = "The model is not loaded."
            if self.verdict is not None:
                detail = f"The model does not classify the service's own samples: {self.verdict.summary}"
            raise Problem("not-ready", detail, {"Retry-After": "1"})
        return self.classifier


def attach(app: Flask, state: State) -> None:
    """Make `state` the one of `app`."""
    app.extensions[_EXTENSION] = state


def state_of(app: Flask | None = None) -> State:
    """The state of `app`, by default of the application that answers the current request."""
    found: State = (app or current_app).extensions[_EXTENSION]
    return found
