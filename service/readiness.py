"""Which model is served, and whether it may be: judged before any worker loads it, and at a reload before others go.

ONNX Runtime survives no fork: a process of its own judges; every worker serves the bytes that were judged.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app

from kws.audio import AudioError, decode
from kws.detection import classify
from kws.model_file import REMEDY, Model, ModelError, ModelInfo, read_model
from service.problems import Problem
from service.settings import Settings, SettingsError


def identity(info: ModelInfo) -> dict[str, Any]:
    """What every place that names the model says of it."""
    names = {"model_version": info.version, "model_revision": info.revision, "model_sha256": info.sha256}
    return names | {"threshold": info.threshold, "labels": info.labels}


@dataclass
class State:
    """What the views of one application share."""

    settings: Settings
    loaded: Model | None = None
    checked: int = 0  # recordings that ship with the service and whose word the model knows
    wrong: tuple[str, ...] = ()  # those of them that it got wrong, each as one phrase

    @property
    def passes(self) -> bool:
        """More than half are right: a weak model may err on one, a broken one is right on chance's quarter."""
        return not self.checked or 2 * len(self.wrong) < self.checked

    @property
    def summary(self) -> str:
        if not self.checked:
            return "The model knows no word of KWS_SAMPLES' recordings; only the form of its answers was checked."
        right = f"{self.checked - len(self.wrong)} of {self.checked} samples classified correctly"
        return "; ".join([right, *self.wrong]) + "."

    def load(self, data: bytes) -> ModelInfo:
        """Load the model in each worker, and try it on the samples. Raises ModelError, SettingsError."""
        model, wrong = Model(data, str(self.settings.model)), list[str]()
        known = [path for path in sorted(self.settings.samples.glob("*.wav")) if path.stem in model.info.labels]
        for path in known:  # each is named for its word
            try:
                result = classify(model, decode(path.read_bytes(), model.info.sample_rate).waveform)
            except (OSError, AudioError) as error:
                raise SettingsError(f"KWS_SAMPLES: {path}: {error}") from None
            if result.label != path.stem:
                wrong.append(f"{path.name} was heard as {result.label!r} ({result.confidence:.2f})")
        self.loaded, self.checked, self.wrong = model, len(known), tuple(wrong)
        return model.info

    def ready(self) -> Model:
        """The model. Raises Problem: it is not loaded, or fails on the samples."""
        if self.loaded is not None and self.passes:
            return self.loaded
        why = f"fails on the service's own samples: {self.summary}" if self.loaded else "is not loaded."
        raise Problem("not-ready", f"The model {why}", ("Retry-After", "1"))


def state_of(app: Flask | None = None) -> State:
    """The state of `app`, by default of the application that answers the current request."""
    return (app or current_app).extensions["kws"]


# In gunicorn's main process: what was judged last, which the workers to be forked serve.
current: tuple[Settings, bytes] | None = None


def judged(*, reload: bool = False) -> tuple[Settings, bytes]:
    """Settings and bytes of a model that loads, at a `reload` also passes. Raises SettingsError, ModelError."""
    settings = Settings.from_env()
    data = read_model(settings.model, settings.model_sha256)
    reading, writing = os.pipe()
    if not (judge := os.fork()):
        with suppress(BaseException):
            state, reason = State(settings), "served"
            try:
                state.load(data)
                if reload and not state.passes:
                    reason = f"model '{settings.model}': {state.summary}"
            except (SettingsError, ModelError) as error:
                reason = str(error)
            os.write(writing, reason.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        reason = answer.read()
    with suppress(ChildProcessError):  # gunicorn has waited for it
        os.waitpid(judge, 0)
    if reason != "served":
        raise ModelError(reason or f"model '{settings.model}' ends the process that loads it; {REMEDY}")
    return settings, data
