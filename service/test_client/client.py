"""Requests to a running service, and what its answers must be."""

import time
import uuid
from typing import Any

import httpx
import jsonschema

UPLOADS = ("multipart", "raw")


class ServiceError(Exception):
    """The service does not do what it promises; the message is one line."""


class Client:
    """A client of the service at `url`, over one connection; `version` must answer, by default the first that does."""

    def __init__(self, url: str, timeout: float, version: str | None = None) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)
        self._schema: dict[str, Any] = {}
        self.version = version
        self.status: int | None = None  # of the last answer of /predict
        self.labels: list[str] = []  # as the first answer has them

    def wait_until_ready(self, seconds: float) -> float:
        """Ask `/readyz` until it answers 200; returns the seconds that took. Raises ServiceError."""
        begin = time.monotonic()
        while True:
            try:
                status = self._http.get("/readyz", timeout=max(0.5, min(5.0, seconds))).status_code
                if status == 200:
                    break
                why = f"/readyz answers {status}"
            except httpx.HTTPError as error:
                why = str(error) or type(error).__name__
            if time.monotonic() - begin >= seconds:
                raise ServiceError(f"{self._http.base_url} is not ready within {seconds:g} s: {why}")
            time.sleep(0.1)
        taken = time.monotonic() - begin
        self._schema = self._json(self._http.get("/openapi.json"), "/openapi.json")
        return taken

    def predict(self, wav: bytes, name: str, upload: str) -> tuple[dict[str, Any], float]:
        """The answer to a WAV sent as `upload`, and the milliseconds that the client waited. Raises ServiceError."""
        request_id = uuid.uuid4().hex
        form: dict[str, Any] = (
            {"files": {"file": (name, wav, "audio/wav")}} if upload == "multipart" else {"content": wav}
        )
        begin = time.perf_counter()
        try:
            response = self._http.post("/predict", headers={"X-Request-ID": request_id}, **form)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise ServiceError(f"{name}: no answer from /predict: {why}") from None
        milliseconds = (time.perf_counter() - begin) * 1e3
        self.status = response.status_code
        answer = self._json(response, f"{name}: /predict")
        if wrong := self._wrong(answer, request_id):
            raise ServiceError(f"{name}: wrong answer from /predict: {wrong}")
        self.version, self.labels = answer["model_version"], list(answer["probabilities"])
        return answer, milliseconds

    def _json(self, response: httpx.Response, what: str) -> dict[str, Any]:
        if response.status_code != 200:
            raise ServiceError(f"{what} answers {response.status_code}: {response.text[:300].strip()}")
        media_type = response.headers.get("Content-Type", "")
        try:
            answer = response.json() if media_type.startswith("application/json") else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ServiceError(f"{what} answers no JSON object but {media_type!r}: {response.text[:100].strip()}")
        return answer

    def _wrong(self, answer: dict[str, Any], request_id: str) -> str:
        """What is wrong with an answer, by the service's own description and beyond it; or an empty string."""
        promised = {"$ref": "#/components/schemas/Prediction", "components": self._schema.get("components", {})}
        try:
            jsonschema.validate(answer, promised)
        except jsonschema.ValidationError as error:
            return f"{error.json_path} {error.message}"
        if answer["request_id"] != request_id:
            return "request_id is not the X-Request-ID that was sent"
        if self.version is not None and answer["model_version"] != self.version:
            return f"model_version is {answer['model_version']!r}, not {self.version!r}"
        for scores in (answer, *answer.get("windows", [])):
            probabilities = scores["probabilities"]
            if self.labels and set(probabilities) != set(self.labels):
                return f"the labels are {sorted(probabilities)}, not {sorted(self.labels)}"
            if abs(sum(probabilities.values()) - 1) > 1e-3:  # they are rounded
                return f"the probabilities sum to {sum(probabilities.values()):.6f}"
            if not probabilities.get(scores["prediction"]) == max(probabilities.values()) == scores["confidence"]:
                return f"the prediction {scores['prediction']!r} is not the most probable label"
        return ""
