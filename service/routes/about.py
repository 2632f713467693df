"""What the service says about itself: metrics, the API's description, the model's card."""

from flask import Blueprint, Response, current_app, jsonify

from .. import metrics
from ..openapi import document
from ..state import state_of

blueprint = Blueprint("about", __name__)


@blueprint.get("/metrics")
def prometheus() -> Response:
    """Prometheus' text format, added up over all workers."""
    return Response(metrics.exposition(), content_type=metrics.CONTENT_TYPE)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """OpenAPI 3.1."""
    return jsonify(document(state_of().settings))


@blueprint.get("/docs")
def docs() -> Response:
    """The same for people."""
    return current_app.send_static_file("docs.html")


@blueprint.get("/model-card")
def model_card() -> Response:
    """What the model file says of itself."""
    info = state_of().ready().info
    return jsonify(
        info.identity()
        | {
            "labels": info.labels,
            "sample_rate": info.sample_rate,
            "window_seconds": info.clip_samples / info.sample_rate,
            "detection": info.rule.to_dict(),
            "metadata": info.metadata,
        }
    )
