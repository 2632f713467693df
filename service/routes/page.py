"""The page for people, and the descriptions that the problem documents' `type` leads to."""

from flask import Blueprint, Response, current_app, jsonify

from ..problems import PROBLEMS, Problem

blueprint = Blueprint("page", __name__)


@blueprint.get("/")
def index() -> Response:
    """What this service is, and a form to try it."""
    return current_app.send_static_file("index.html")


@blueprint.get("/problems/<name>")
def problem(name: str) -> Response:
    """What the problem type `name` means and what to do."""
    kind = PROBLEMS.get(name)
    if kind is None:
        raise Problem("not-found", "There is no such problem type.")
    return jsonify(type=f"/problems/{name}", status=kind.status, title=kind.title, remedy=kind.remedy)
