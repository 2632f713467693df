"""What the service says of itself: health, metrics, the page, the API's description, the model's card, the problems."""

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, render_template, request, send_from_directory

from service import metrics
from service.access import is_health
from service.problems import FORMATS, PROBLEMS, Problem, root
from service.readiness import app_state, identity

blueprint = Blueprint("pages", __name__)


@blueprint.get("/healthz")
@blueprint.get("/livez")
@blueprint.get("/v2/health/live")
def live() -> Response:
    return jsonify(status="alive", live=True)


@blueprint.get("/readyz")
def ready() -> Response:
    info = (state := app_state()).ready().info
    return jsonify(status="ready", model_version=info.version, labels=info.labels, samples=state.summary)


@blueprint.get("/metrics")
def prometheus() -> Response:
    return Response(metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")


@blueprint.get("/model-card")
def model_card() -> Response:
    info = app_state().ready().info
    audio = {"sample_rate": info.sample_rate, "window_seconds": info.clip_samples / info.sample_rate}
    rule = {"detection": asdict(info.rule), "sensitivities": info.sensitivities}
    return jsonify(identity(info) | audio | rule | {"metadata": info.metadata})


@blueprint.get("/")
@blueprint.get("/docs")
def page() -> str:
    """The page to try the service on, or the one that shows its interface; every address in them is relative."""
    name = "docs.html" if request.path == "/docs" else "index.html"
    here = root(request.environ["kws.request"].raw_path) or "./"
    words = sorted(path.stem for path in app_state().settings.samples.glob("*.wav"))
    return render_template(name, root=here, formats=FORMATS, samples=words)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """OpenAPI 3.1, with the present limits, and with what access asks and answers where it is in use."""
    context = {"settings": app_state().settings, "is_health": is_health, "formats": FORMATS, "problems": PROBLEMS}
    return Response(render_template("openapi.json", **context), mimetype="application/json")


@blueprint.get("/listen")
def listen() -> Response:
    # `service.detect.Streams` answers those who do.
    raise Problem("upgrade-required", "The request does not ask for a WebSocket.", ("Upgrade", "websocket"))


@blueprint.get("/problems/<name>")
def problem(name: str) -> Response:
    if name not in PROBLEMS:
        raise Problem("not-found", "There is no such problem type.")
    return jsonify({"type": name} | PROBLEMS[name]._asdict())


@blueprint.get("/samples/<word>")
def sample(word: str) -> Response:
    return send_from_directory(app_state().settings.samples.resolve(), f"{word}.wav", mimetype="audio/wav")
