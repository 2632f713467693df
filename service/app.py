"""The application factory: the Flask application, and the same as it is served."""

from flask import Flask
from werkzeug.exceptions import HTTPException

from service import detect, open_inference, pages, predict, problems
from service.asgi import Service
from service.readiness import State
from service.settings import Settings


def create_views(settings: Settings) -> Flask:
    """The views, the model not loaded yet: `/readyz` and `/predict` answer 503 until it is.

    `Problem`, `AudioError` and what is unexpected leave it as exceptions, for `service.asgi` to answer.
    """
    app = Flask(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.json.sort_keys = False  # type: ignore[attr-defined]  # labels keep the model's order
    app.url_map.merge_slashes = False  # no redirect, which would lose the body
    app.extensions["kws"] = State(settings)
    app.register_error_handler(HTTPException, problems.raise_problem)
    for module in (predict, detect, open_inference, pages):
        app.register_blueprint(module.blueprint)
    return app


def create_app(settings: Settings | None = None) -> Service:
    """The application as it is served; the settings by default from the environment. Raises SettingsError."""
    return Service(create_views(settings or Settings.from_env()))
