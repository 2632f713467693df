"""Small views of other frameworks around the same model, decoder and answer; `tools.bench` starts one of them.

Each reads a recording, classifies it and answers the probabilities; LitServe and BentoML take forms only.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

from kws.audio import decode
from kws.detection import classify
from kws.model_file import Model, open_model

NAME = os.environ["KWS_BENCH_PEER"]


@cache
def model() -> Model:
    """The model, loaded in each process."""
    return open_model(Path(os.environ["KWS_MODEL"]))


def answer(data: bytes) -> dict[str, Any]:
    """What every view answers to the bytes of a recording."""
    result = classify(model(), decode(data).waveform)
    probabilities = result.probabilities[result.best].tolist()
    return {"prediction": result.label, "probabilities": dict(zip(model().info.labels, probabilities, strict=True))}


if NAME == "flask":
    from flask import Flask, request

    flask = Flask(__name__)

    @flask.post("/predict")
    def of_flask() -> dict[str, Any]:
        file = request.files.get("file")
        return answer(file.read() if file else request.get_data(cache=False))


if NAME == "fastapi":
    from fastapi import FastAPI, Request

    fastapi = FastAPI()

    @fastapi.post("/predict")
    async def of_fastapi(request: Request) -> dict[str, Any]:
        if not request.headers["content-type"].startswith("multipart"):
            return answer(await request.body())
        async with request.form() as form:
            return answer(await form["file"].read())


if NAME == "bentoml":
    import bentoml

    @bentoml.service(workers=2, logging={"access": {"enabled": False}})
    class Keywords:
        @bentoml.api(route="/predict")
        def predict(self, file: Path) -> dict[str, Any]:
            return answer(file.read_bytes())


if NAME == "litserve":
    import litserve

    class API(litserve.LitAPI):
        def setup(self, device: str) -> None:  # noqa: ARG002
            model()

        def predict(self, form: Any) -> dict[str, Any]:
            return answer(form["file"].file.read())

    if __name__ == "__main__":
        server = litserve.LitServer(API(api_path="/predict"), accelerator="cpu", workers_per_device=2)
        port = int(os.environ["KWS_PORT"])
        server.run(port=port, num_api_servers=1, generate_client_file=False, log_level="error")
