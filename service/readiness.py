"""Which model is served, and whether it may be: judged before any worker loads it, and at a reload before others go.

ONNX Runtime survives no fork: a process of its own judges; every worker serves the bytes that were judged.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flask import current_app

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
    passes: bool = False  # whether the model may be served, by its answers to the samples
    summary: str = ""  # of those answers
    level: str = "error"  # at which the summary is logged

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
        self.summary = "The model knows no word of KWS_SAMPLES' recordings; only the form of its answers was checked."
        if known:
            right = f"{len(known) - len(wrong)} of {len(known)} samples classified correctly"
            self.summary = "; ".join([right, *wrong]) + "."
        # More than half must be right: a weak model may err on one, a broken one is right on chance's quarter.
        self.loaded, self.passes = model, not known or 2 * len(wrong) < len(known)
        self.level = "error" if not self.passes else "warning" if wrong or not known else "info"
        return model.info

    def ready(self) -> Model:
        """The model. Raises Problem: it is not loaded, or fails on the samples."""
        if self.loaded is not None and self.passes:
            return self.loaded
        why = f"fails on the service's own samples: {self.summary}" if self.loaded else "is not loaded."
        raise Problem("not-ready", f"The model {why}", ("Retry-After", "1"))


def app_state() -> State:
    return current_app.extensions["kws"]


NOT_SERVED = (SettingsError, ModelError)
# In gunicorn's main process: what was judged last, which the workers to be forked serve.
current: tuple[Settings, bytes] | None = None


def judged(*, reload: bool = False) -> tuple[Settings, bytes]:
    """Settings and bytes of a model that loads, at a `reload` also passes. Raises SettingsError, ModelError."""
    settings = Settings.from_env()
    data = read_model(settings.model, settings.model_sha256)
    reading, writing = os.pipe()
    if not (judge := os.fork()):
        try:
            (state := State(settings)).load(data)
            if reload and not state.passes:
                raise ModelError(f"model '{settings.model}': {state.summary}")
            os.write(writing, b"served")
        except NOT_SERVED as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        reason = answer.read()
    with suppress(ChildProcessError):  # gunicorn has waited for it
        os.waitpid(judge, 0)
    if reason != "served":
        raise ModelError(reason or f"model '{settings.model}' ends the process that loads it; {REMEDY}")
    return settings, data
