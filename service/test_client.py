"""`python -m service.test_client URL`: tests a running service, as the pipeline does; needs none of its packages."""

import json
import statistics
import sys
import time
import uuid
from collections import Counter
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import httpx
import jsonschema
import typer
from typer.core import TyperCommand

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
InputError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")  # typer's own base
UPLOADS = ("multipart", "raw")


class ServiceError(Exception):
    """The service does not do what it promises; the message is one line."""


class OneLine(TyperCommand):
    """A command that tells of wrong options in one line (exit code 2)."""

    def main(self, *given: Any, **more: Any) -> NoReturn:
        try:
            sys.exit(super().main(*given, **more | {"standalone_mode": False}))
        except InputError as error:
            wrong = f"{error.format_message().rstrip('.')}; see --help"
        except OSError as error:  # a full disk, say
            wrong = f"{error.filename or '--output'} cannot be read or written ({error.strerror}); give another"
        except typer.Abort:  # SIGINT
            sys.exit(130)
        print(f"test client: {wrong}", file=sys.stderr)
        sys.exit(2)


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
                self._ask("GET", "/readyz", timeout=max(0.5, min(5.0, seconds)))
                break
            except ServiceError as error:
                if time.monotonic() - begin >= seconds:
                    raise ServiceError(f"{self._http.base_url} is not ready within {seconds:g} s: {error}") from None
            time.sleep(0.1)
        taken = time.monotonic() - begin
        self._schema, _ = self._ask("GET", "/openapi.json")
        return taken

    def predict(self, wav: bytes, name: str, upload: str) -> tuple[dict[str, Any], float]:
        """The answer to a WAV sent as `upload`, and the milliseconds that the client waited. Raises ServiceError."""
        request_id = uuid.uuid4().hex
        body: Any = {"content": wav} if upload == "raw" else {"files": {"file": (name, wav, "audio/wav")}}
        answer, spent = self._ask("POST", "/predict", f"{name}: ", headers={"X-Request-ID": request_id}, **body)
        if wrong := self._wrong(answer, request_id):
            raise ServiceError(f"{name}: wrong answer from /predict: {wrong}")
        self.version, self.labels = answer["model_version"], list(answer["probabilities"])
        return answer, spent

    def _ask(self, method: str, path: str, of: str = "", **given: Any) -> tuple[dict[str, Any], float]:
        """The JSON object that is answered, and the milliseconds that took."""
        begin = time.perf_counter()
        try:
            response = self._http.request(method, path, **given)
        except httpx.HTTPError as error:
            raise ServiceError(f"{of}no answer from {path}: {error!r}") from None
        milliseconds = (time.perf_counter() - begin) * 1e3
        self.status = response.status_code if path == "/predict" else self.status
        media_type, answer = response.headers.get("Content-Type", ""), None
        with suppress(ValueError):
            answer = response.json() if media_type.startswith("application/json") else None
        if response.status_code != 200 or not isinstance(answer, dict):
            why = response.status_code if response.status_code != 200 else f"no JSON object but {media_type!r}"
            raise ServiceError(f"{of}{path} answers {why}: {response.text[:300].strip()}")
        return answer, milliseconds

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
            if abs(sum(probabilities.values()) - 1) > 1e-3:  # they are rounded
                return f"the probabilities sum to {sum(probabilities.values()):.6f}"
            if not probabilities.get(scores["prediction"]) == max(probabilities.values()) == scores["confidence"]:
                return f"the prediction {scores['prediction']!r} is not the most probable label"
        return ""


def find_clips(folder: Path) -> list[tuple[str, Path]]:
    """The clips `folder/<label>/*.wav`, each with its label, in order. Raises InputError: there are none."""
    labels = sorted(entry for entry in folder.glob("[!.]*") if entry.is_dir())
    clips = [(label.name, path) for label in labels for path in sorted(label.glob("*.[wW][aA][vV]"))]
    if empty := {label.name for label in labels} - {label for label, _ in clips}:
        raise InputError(f"--clips: {folder / min(empty)} holds no .wav file; `python -m model clips` writes some")
    if not clips:
        raise InputError(f"--clips: {folder} holds no clips: wanted {folder}/<label>/*.wav")
    return clips


def score(client: Client, clips: list[tuple[str, Path]], failures: dict[str, None]) -> tuple[dict[str, Any], Any]:
    """Send each clip once, as a form and raw in turn. The metrics, and the first answer."""
    predicted: dict[str, Counter[str]] = {label: Counter() for label, _ in clips}
    first: dict[str, Any] | None = None
    for (label, path), upload in zip(clips, cycle(UPLOADS), strict=False):
        try:
            answer, _ = client.predict(path.read_bytes(), f"{label}/{path.name}", upload)
            predicted[label][answer["prediction"]] += 1
            first = first or answer
        except ServiceError as error:
            failures[str(error)] = None
    correct = sum(words[label] for label, words in predicted.items())
    return {"clips": len(clips), "correct": correct, "accuracy": correct / len(clips), "predicted": predicted}, first


def time_requests(client: Client, clips: list[tuple[str, Path]], requests: int) -> dict[str, Any]:
    """Time requests, forms and raw in turn; the first clip goes both ways. Raises ServiceError."""
    files = [(path.read_bytes(), path.name) for _, path in clips[:requests]]
    form, raw = (client.predict(*files[0], upload)[0]["probabilities"] for upload in UPLOADS)
    if any(abs(form[label] - raw[label]) > 1e-5 for label in form):
        raise ServiceError(f"{files[0][1]}: multipart gives {form}, the raw body {raw}")
    turns = islice(zip(cycle(files), cycle(UPLOADS), strict=False), requests)
    answered = [client.predict(*file, upload) for file, upload in turns]
    spent = sorted(milliseconds for _, milliseconds in answered)
    ranks = {f"p{share}_ms": round(spent[-(-share * requests // 100) - 1], 3) for share in (50, 95, 99)}
    inside = round(statistics.median(answer["latency_ms"] for answer, _ in answered), 3)
    return {"requests": requests, "latency_ms": ranks["p50_ms"], "server_latency_ms": inside} | ranks


def _url(text: str) -> str:
    with suppress(ValueError):
        if (parts := urlsplit(text)).scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return text.rstrip("/")
    wrong = f"{text!r} is no address: " if text else ""
    raise InputError(f"{wrong}give the service's address, such as http://127.0.0.1:8000")


@cli.command(cls=OneLine, context_settings={"auto_envvar_prefix": "KWS_PROBE"})
def main(
    clips: Annotated[Path, typer.Option(help="Labelled clips: CLIPS/<label>/*.wav.")],
    url: Annotated[
        str, typer.Argument(help="Base address of the service.", callback=_url, envvar="KWS_PROBE_URL")
    ] = "",
    output: Annotated[Path, typer.Option(help="Folder for what was found.")] = Path("artifacts/inference"),
    requests: Annotated[int, typer.Option(help="Timed requests, after each clip was sent once.", min=1)] = 200,
    ready_timeout: Annotated[float, typer.Option(help="Seconds to wait for /readyz.", min=0)] = 30,
    timeout: Annotated[float, typer.Option(help="Seconds for one request.", min=0.1)] = 10,
    model_version: Annotated[str | None, typer.Option(help="The version that must answer.")] = None,
) -> None:
    """Test a running service: form of the answers, accuracy over labelled clips, latency.

    Exit codes: 0 all is well, 3 the service fails (one line each on stderr), 2 wrong options; response.json and
    inference_metrics.json are written in either of the first two cases. Bounds are judged by `python -m release`.
    """
    found = find_clips(clips)
    output.mkdir(parents=True, exist_ok=True)
    failures: dict[str, None] = {}  # each once, in their order
    client = Client(url, timeout, model_version)
    metrics: dict[str, Any] = {"url": url}
    answer = None
    try:
        metrics["ready_seconds"] = round(client.wait_until_ready(ready_timeout), 3)
        scores, answer = score(client, found, failures)
        metrics |= scores
        print(f"accuracy  {scores['correct']}/{scores['clips']} = {scores['accuracy']:.4f}", flush=True)
        for label in set(scores["predicted"]) - set(client.labels or scores["predicted"]):
            known = ", ".join(client.labels)
            failures[f"{clips / label}: the model does not know the label {label!r}, it knows {known}"] = None
        metrics |= time_requests(client, found, requests)
        print(f"latency   p50 {metrics['p50_ms']} ms, p95 {metrics['p95_ms']} ms, p99 {metrics['p99_ms']} ms")
    except ServiceError as error:
        failures[str(error)] = None
    metrics |= {"http_status": client.status, "model_version": client.version}
    metrics |= {"passed": not failures, "failures": list(failures)}
    # A result of an earlier run must not pass for one of this run.
    (output / "response.json").unlink(missing_ok=True)
    for name, document in (("response.json", answer), ("inference_metrics.json", metrics)):
        if document is not None:
            (output / name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for failure in failures:
        print(f"test client: {failure}", file=sys.stderr)
    raise typer.Exit(3 if failures else 0)


if __name__ == "__main__":
    cli(prog_name="python -m service.test_client")
