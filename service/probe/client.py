"""Requests to a running service."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from .answer import AnswerError, check_answer

Upload = Literal["multipart", "raw"]
UPLOADS: tuple[Upload, ...] = ("multipart", "raw")


class ProbeError(Exception):
    """The service does not do what it promises; the message is one line."""


@dataclass(frozen=True)
class Reply:
    """One answer of `/predict` that is right in form.

    Attributes:
        answer: the document.
        milliseconds: from sending the request to having read the answer, at the client.
    """

    answer: dict[str, Any]
    milliseconds: float


class Client:
    """A client of one service, over one kept-alive connection.

    Args:
        url: base address of the service, for example http://127.0.0.1:8000.
        timeout: seconds for one request.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)
        self.status: int | None = None
        """The HTTP status of the last request to /predict that was answered."""
        self.labels: list[str] | None = None
        """The label set; the first answer sets it unless it is set before."""
        self.expected_version: str | None = None
        """The model version that must answer, where it is known."""
        self.model_version: str | None = None
        """The model version that answered; the first answer sets it, the others must agree."""

    def wait_until_ready(self, seconds: float) -> float:
        """Ask `/readyz` until it answers 200; returns the seconds that took.

        Raises:
            ProbeError: it did not within `seconds`.
        """
        begin = time.monotonic()
        while True:
            try:
                response = self._http.get("/readyz", timeout=max(0.5, min(5.0, seconds)))
                if response.status_code == 200:
                    return time.monotonic() - begin
                why = f"/readyz answers {response.status_code}"
            except httpx.HTTPError as error:
                why = _reason(error)
            if time.monotonic() - begin >= seconds:
                raise ProbeError(f"{self._http.base_url} is not ready within {seconds:g} s: {why}")
            time.sleep(0.1)

    def predict(self, wav: bytes, name: str, upload: Upload) -> Reply:
        """Classify a WAV and check the answer's form.

        Raises:
            ProbeError: no answer, not 200, or wrong in form.
        """
        request_id = uuid.uuid4().hex
        headers = {"X-Request-ID": request_id}
        begin = time.perf_counter()
        try:
            if upload == "multipart":
                files = {"file": (name, wav, "audio/wav")}
                response = self._http.post("/predict", headers=headers, files=files)
            else:
                headers["Content-Type"] = "audio/wav"
                response = self._http.post("/predict", headers=headers, content=wav)
        except httpx.HTTPError as error:
            raise ProbeError(f"{name}: no answer from /predict: {_reason(error)}") from None
        milliseconds = (time.perf_counter() - begin) * 1e3
        self.status = response.status_code
        if response.status_code != 200:
            raise ProbeError(f"{name}: /predict answers {response.status_code}: {response.text[:300].strip()}")
        return Reply(self._checked(response, name, request_id), milliseconds)

    def _checked(self, response: httpx.Response, name: str, request_id: str) -> dict[str, Any]:
        media_type = response.headers.get("Content-Type", "")
        try:
            if media_type.split(";")[0].strip() != "application/json":
                raise AnswerError(f"the media type is {media_type!r}")
            try:
                answer: dict[str, Any] = response.json()
            except ValueError:
                raise AnswerError("it is not JSON") from None
            check_answer(answer, self.labels)
            if answer["request_id"] != request_id:
                raise AnswerError("request_id is not the X-Request-ID that was sent")
            expected = self.expected_version or self.model_version
            if expected is not None and answer["model_version"] != expected:
                raise AnswerError(f"model_version is {answer['model_version']!r}, not {expected!r}")
        except AnswerError as error:
            raise ProbeError(f"{name}: wrong answer from /predict: {error}") from None
        self.labels = list(answer["probabilities"]) if self.labels is None else self.labels
        self.model_version = answer["model_version"]
        return answer


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
