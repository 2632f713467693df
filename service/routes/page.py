"""The page for people, and the descriptions that the problem documents' `type` leads to."""

from flask import Blueprint, Response, current_app, jsonify

from ..problems import PROBLEMS, Problem
from ..samples import sample_files
from ..state import state_of

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


@blueprint.get("/samples")
def samples() -> Response:
    """The words of the recordings that ship with the service."""
    return jsonify(samples=[path.stem for path in sample_files(state_of().settings.samples)])


@blueprint.get("/samples/<word>")
def sample(word: str) -> Response:
    """One of them."""
    for path in sample_files(state_of().settings.samples):
        if path.stem == word:
            return Response(path.read_bytes(), mimetype="audio/wav")
    raise Problem("not-found", "There is no such sample.")
