"""`python -m tools.bench.peers NAME PORT`: small views of other frameworks around the same model, decoder and answer.

Each reads a recording, classifies it and answers the probabilities; two processes each, access logs off. Started by
`tools.bench`, which has uv bring the framework.
"""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from kws.audio import decode
from kws.detection import classify
from kws.model_file import Model, open_model

WORKERS = 2


@cache
def model() -> Model:
    """The model, loaded in each process."""
    return open_model(Path(os.environ["KWS_MODEL"]))


def answer(data: bytes) -> dict[str, Any]:
    """What every view answers to the bytes of a recording."""
    result = classify(model(), decode(data).waveform)
    probabilities = result.probabilities[result.best].tolist()
    return {"prediction": result.label, "probabilities": dict(zip(model().info.labels, probabilities, strict=True))}


def flask_app() -> Any:
    """A plain Flask view, under gunicorn's threads."""
    from flask import Flask, request

    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        file = request.files.get("file")
        return answer(file.read() if file else request.get_data(cache=False))

    return app


def fastapi_app() -> Any:
    """FastAPI, the model in the event loop."""
    from fastapi import FastAPI, Request

    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        if request.headers["content-type"].startswith("multipart"):
            async with request.form() as form:
                return answer(await form["file"].read())
        return answer(await request.body())

    return app


# These two must stand in the module, which their own processes import.
if os.environ.get("KWS_BENCH_PEER") == "litserve":
    import litserve
    from fastapi import Request

    class API(litserve.LitAPI):
        """LitServe; forms only."""

        def setup(self, device: str) -> None:  # noqa: ARG002
            """Load the model."""
            model()

        def decode_request(self, request: Request) -> bytes:
            """The form's file."""
            data: bytes = request["file"].file.read()
            return data

        def predict(self, data: bytes) -> dict[str, Any]:
            """The answer."""
            return answer(data)

        def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
            """As it is."""
            return output


if os.environ.get("KWS_BENCH_PEER") == "bentoml":
    import bentoml

    @bentoml.service(workers=WORKERS, logging={"access": {"enabled": False}})
    class Keywords:
        """BentoML; forms only."""

        @bentoml.api(route="/predict")
        def predict(self, file: Path) -> dict[str, Any]:
            """The answer."""
            return answer(file.read_bytes())


def main(name: str, port: int) -> None:
    """Become the server `name` at `port`."""
    here = "tools.bench.peers"
    host, workers = f"127.0.0.1:{port}", str(WORKERS)
    commands = {
        "flask": ["gunicorn", "-b", host, "-w", workers, "-k", "gthread", "--threads", "4", f"{here}:flask_app()"],
        "fastapi": ["uvicorn", "--factory", f"{here}:fastapi_app", "--port", str(port), "--workers", workers],
        "bentoml": ["bentoml", "serve", f"{here}:Keywords", "--host", "127.0.0.1", "--port", str(port)],
    }
    if name == "litserve":
        server = litserve.LitServer(API(api_path="/predict"), accelerator="cpu", workers_per_device=WORKERS)
        return server.run(port=port, num_api_servers=1, generate_client_file=False, log_level="error")
    command = [*commands[name], *(["--no-access-log", "--log-level", "error"] if name == "fastapi" else [])]
    os.execvp(command[0], command)  # noqa: S606
    return None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
