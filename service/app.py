"""The application factory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from . import http, metrics, problems, samples
from .classifier import Classifier, ModelInfo
from .direct import Direct
from .gate import Gate
from .routes import about, detect, health, page, predict, v2
from .settings import Settings
from .state import State, attach, state_of

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


def create_app(settings: Settings | None = None) -> Flask:
    """The service, its model not loaded yet: `/readyz` and `/predict` answer 503 until `load_model`.

    Args:
        settings: by default read from the environment.

    Raises:
        SettingsError: the environment holds an impossible value.
    """
    settings = settings or Settings.from_env()
    app = Flask(__name__, static_folder="static", static_url_path="/static")
    app.request_class = http.Request
    app.config["MAX_CONTENT_LENGTH"] = settings.max_upload_bytes
    app.config["MAX_FORM_PARTS"] = 16
    app.json.sort_keys = False  # type: ignore[attr-defined]  # labels keep the model's order
    state = State(settings)
    attach(app, state)
    http.register(app)
    problems.register(app)
    for routes in (predict, detect, v2, health, about, page):
        app.register_blueprint(routes.blueprint)
    layers: WSGIApplication = Direct(app.wsgi_app, state)
    if settings.api_keys or settings.api_keys_file or settings.rate_limit:
        layers = Gate(layers, settings)
    layers = http.outermost(layers)
    if settings.proxies:
        layers = ProxyFix(layers, x_for=settings.proxies, x_proto=0, x_host=0)
    app.wsgi_app = layers  # type: ignore[assignment, method-assign]
    return app


def load_model(app: Flask) -> tuple[ModelInfo, samples.Verdict]:
    """Load the model, warm it up and let it classify the samples. To be called in each worker, after the fork.

    Where it fails on the samples, the application stays not ready and `state.verdict` says why.

    Raises:
        ModelError: there is no such model; the application stays not ready.
    """
    state = state_of(app)
    classifier = Classifier(state.settings.model, state.settings.model_sha256)
    state.verdict = verdict = samples.check(classifier, state.settings.samples, state.settings.max_seconds)
    info = classifier.info
    metrics.MODEL.labels(info.version, info.revision, info.sha256).set(1)
    if verdict.ready:
        state.classifier = classifier
    return info, verdict
