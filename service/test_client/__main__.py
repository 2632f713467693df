"""The command line of the test client."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from service.test_client.client import Client, ServiceError, find_clips, score, time_requests

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _url(text: str) -> str:
    try:
        right = urlsplit(text).scheme in ("http", "https") and urlsplit(text).hostname and urlsplit(text).port != 0
    except ValueError:
        right = False
    if not right:
        raise typer.BadParameter(f"{text!r} is not an address like http://127.0.0.1:8000")
    return text.rstrip("/")


def _option(text: str, name: str, **bounds: Any) -> Any:
    return typer.Option(help=text, envvar=f"KWS_PROBE_{name}", **bounds)


@cli.command()
def main(
    url: Annotated[str, typer.Argument(help="Base address of the service.", callback=_url, envvar="KWS_PROBE_URL")],
    clips: Annotated[Path, _option("Labelled clips: CLIPS/<label>/*.wav.", "CLIPS")],
    output: Annotated[Path, _option("Folder for what was found.", "OUTPUT")] = Path("artifacts/inference"),
    requests: Annotated[int, _option("Timed requests, after each clip was sent once.", "REQUESTS", min=1)] = 200,
    ready_timeout: Annotated[float, _option("Seconds to wait for /readyz.", "READY_TIMEOUT", min=0)] = 30,
    timeout: Annotated[float, _option("Seconds for one request.", "TIMEOUT", min=0.1)] = 10,
    model_version: Annotated[str | None, _option("The version that must answer.", "MODEL_VERSION")] = None,
) -> None:
    """Test a running service: form of the answers, accuracy over labelled clips, latency.

    Exit codes: 0 all is well, 3 the service fails (one line each on stderr), 2 wrong options; response.json and
    inference_metrics.json are written in either of the first two cases. Bounds are judged by `python -m release`.
    """
    try:
        found = find_clips(clips)
        output.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--clips") from None
    except OSError as error:
        raise typer.BadParameter(f"{output}: {error.strerror}", param_hint="--output") from None
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
