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
    """The model is loaded and has classified the samples that ship with the service; 503 until then."""
    state = state_of()
    info = state.ready().info
    summary = state.verdict.summary if state.verdict else ""
    return jsonify(status="ready", model_version=info.version, labels=info.labels, samples=summary)
