"""Liveness and readiness."""

from flask import Blueprint, Response, jsonify

from ..state import state_of

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@blueprint.get("/livez")
def live() -> Response:
    """The process answers; nothing is said about the model."""
    return jsonify(status="alive")


@blueprint.get("/readyz")
def ready() -> Response:
    """The model is loaded and has answered a trial input; 503 until then."""
    info = state_of().ready().info
    return jsonify(status="ready", model_version=info.version, labels=info.labels)
