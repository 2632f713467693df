"""The application factory: the Flask application, and the same as it is served."""

from typing import NoReturn

from flask import Flask
from werkzeug.exceptions import HTTPException

from service import detect, open_inference, pages
from service.asgi import Service
from service.problems import of_status
from service.readiness import State
from service.settings import Settings


def create_app(settings: Settings | None = None) -> Service:
    """The application, its settings by default from the environment, its model not loaded yet. Raises SettingsError.

    `Problem`, `AudioError` and what is unexpected leave the views as exceptions, for `service.asgi` to answer.
    """
    app = Flask(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.json.sort_keys = False  # type: ignore[attr-defined]  # labels keep the model's order
    app.url_map.merge_slashes = False  # no redirect, which would lose the body
    app.extensions["kws"] = state = State(settings or Settings.from_env())
    app.register_error_handler(HTTPException, _raise_problem)
    app.add_url_rule("/predict", "predict.predict", methods=["POST"])  # which `service.asgi` answers by itself
    for module in (detect, open_inference, pages):
        app.register_blueprint(module.blueprint)
    return Service(app, state)


def _raise_problem(error: HTTPException) -> NoReturn:
    """Werkzeug's and Flask's own errors as problems."""
    status = error.code or 500
    known = {404: "There is nothing at this path.", 405: "This path does not answer this method."}
    allow = [pair for pair in error.get_response().headers if pair[0] == "Allow"]
    raise of_status(status, known.get(status, error.description or "It cannot be answered."), *allow) from None
