"""The command line of the test client."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from service.test_client.client import Client, ServiceError
from service.test_client.clips import find_clips, score, time_requests

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _url(text: str) -> str:
    parts = urlsplit(text)
    try:
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
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
    min_accuracy: Annotated[float | None, _option("Least accuracy, 0 to 1.", "MIN_ACCURACY", min=0, max=1)] = None,
    max_latency_ms: Annotated[float | None, _option("Most of the 95th percentile.", "MAX_LATENCY_MS", min=0)] = None,
    model_version: Annotated[str | None, _option("The version that must answer.", "MODEL_VERSION")] = None,
) -> None:
    """Test a running service: form of the answers, accuracy over labelled clips, latency.

    Exit codes: 0 all is well, 3 the service fails or misses a limit (one line each on stderr), 2 wrong options.
    response.json and inference_metrics.json are written in either of the first two cases.
    """
    try:
        found = find_clips(clips)
        output.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--clips") from None
    except OSError as error:
        raise typer.BadParameter(f"{output}: {error.strerror}", param_hint="--output") from None
    failures: list[str] = []
    client = Client(url, timeout, model_version)
    metrics: dict[str, Any] = {"url": url}
    answer = None
    try:
        metrics["ready_seconds"] = round(client.wait_until_ready(ready_timeout), 3)
        scores, answer = score(client, found, failures.append)
        metrics |= scores
        print(f"accuracy  {scores['correct']}/{scores['clips']} = {scores['accuracy']:.4f}", flush=True)
        unknown = [label for label in scores["labels"] if client.labels and label not in client.labels]
        known = ", ".join(client.labels)
        failures += [
            f"{clips / label}: the model does not know the label {label!r}, it knows {known}" for label in unknown
        ]
        metrics |= time_requests(client, found, requests)
        inside = f"inside the model {metrics['server_latency_ms']:.2f} ms"
        print(f"latency   p50 {metrics['p50_ms']:.2f}, p95 {metrics['p95_ms']:.2f} ms; {inside}")
    except ServiceError as error:
        failures.append(str(error))
    metrics["limits"] = {}
    for name, key, limit, sign in (
        ("min_accuracy", "accuracy", min_accuracy, 1),
        ("max_latency_ms", "p95_ms", max_latency_ms, -1),
    ):
        value = metrics.get(key)
        if limit is not None:
            passed = value is not None and sign * value >= sign * limit
            metrics["limits"][name] = {"metric": key, "limit": limit, "value": value, "passed": passed}
            if value is not None and not passed:
                failures.append(f"{key} {value:.4g} misses the limit {limit:g}")
    failures = list(dict.fromkeys(failures))
    metrics |= {"http_status": client.status, "model_version": client.version}
    metrics |= {"passed": not failures, "failures": failures}
    # A result of an earlier run must not pass for one of this run.
    (output / "response.json").unlink(missing_ok=True)
    for name, document in (("response.json", answer), ("inference_metrics.json", metrics)):
        if document is not None:
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            (output / name).write_text(text, encoding="utf-8")
    for failure in failures:
        print(f"test client: {failure}", file=sys.stderr)
    if failures:
        raise typer.Exit(3)


if __name__ == "__main__":
    cli(prog_name="python -m service.test_client")
