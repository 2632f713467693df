"""The command line of the probe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from .client import Client, ProbeError
from .clips import TONE_HZ, Clip, ClipsError, find_clips, sox_tone
from .measure import same_answer_both_ways, score_clips, time_requests

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _url(text: str) -> str:
    parts = urlsplit(text)
    try:
        port_is_wrong = parts.port == 0
    except ValueError:
        port_is_wrong = True
    if parts.scheme not in ("http", "https") or not parts.hostname or port_is_wrong:
        raise typer.BadParameter(f"{text!r} is not an address like http://127.0.0.1:8000")
    return text.rstrip("/")


def _clips(folder: Path) -> list[Clip]:
    try:
        return find_clips(folder)
    except ClipsError as error:
        raise typer.BadParameter(str(error), param_hint="--clips") from None


def _env(name: str) -> Any:
    return f"KWS_PROBE_{name}"


@cli.command()
def probe(
    url: Annotated[str, typer.Argument(help="Base address of the service.", callback=_url, envvar=_env("URL"))],
    clips: Annotated[
        Path, typer.Option(help="Labelled clips: CLIPS/<label>/*.wav.", envvar=_env("CLIPS"), show_default=False)
    ],
    output: Annotated[
        Path, typer.Option(help="Folder for response.json and inference_metrics.json.", envvar=_env("OUTPUT"))
    ] = Path("artifacts/inference"),
    requests: Annotated[
        int, typer.Option(help="Timed requests, after each clip was sent once.", min=1, envvar=_env("REQUESTS"))
    ] = 200,
    ready_timeout: Annotated[
        float, typer.Option(help="Seconds to wait for /readyz.", min=0, envvar=_env("READY_TIMEOUT"))
    ] = 30,
    timeout: Annotated[float, typer.Option(help="Seconds for one request.", min=0.1, envvar=_env("TIMEOUT"))] = 10,
    min_accuracy: Annotated[
        float | None, typer.Option(help="Least accuracy, 0 to 1.", min=0, max=1, envvar=_env("MIN_ACCURACY"))
    ] = None,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(help="Most milliseconds of the 95th percentile.", min=0, envvar=_env("MAX_LATENCY_MS")),
    ] = None,
    model_version: Annotated[
        str | None,
        typer.Option(help="The model version that must answer.", envvar=_env("MODEL_VERSION")),
    ] = None,
) -> None:
    """Test a running service: form of the answers, accuracy over labelled clips, latency.

    Exit codes: 0 all is well, 1 the service fails or misses a limit (one line each on stderr), 2 wrong
    options. The files are written in either of the first two cases.
    """
    found = _clips(clips)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"{output}: {error.strerror}", param_hint="--output") from None
    failures: list[str] = []
    client = Client(url, timeout)
    client.expected_version = model_version
    metrics: dict[str, Any] = {"url": url, "http_status": None}
    response: dict[str, Any] | None = None
    try:
        metrics["ready_seconds"] = round(client.wait_until_ready(ready_timeout), 3)
        print(f"ready     after {metrics['ready_seconds']:.1f} s; {len(found)} clips", flush=True)
        scores, shown = score_clips(client, found, failures.append)
        metrics |= scores
        print(f"accuracy  {metrics['correct']}/{metrics['clips']} = {metrics['accuracy']:.4f}", flush=True)
        if shown is not None:
            response = shown.answer
        failures += [
            f"{clips / label}: the model does not know the label {label!r}, it knows {', '.join(client.labels)}"
            for label in scores["labels"]
            if client.labels is not None and label not in client.labels
        ]
        metrics["tone"] = _tone(client)
        same_answer_both_ways(client, found[0])
        metrics |= time_requests(client, found, requests)
    except ProbeError as error:
        failures.append(str(error))
    metrics |= {"http_status": client.status, "model_version": client.model_version}
    metrics["limits"] = _limits(metrics, min_accuracy, max_latency_ms, failures)
    failures = list(dict.fromkeys(failures))
    metrics |= {"passed": not failures, "failures": failures}
    # A result of an earlier run must not pass for one of this run.
    (output / "response.json").unlink(missing_ok=True)
    if response is not None:
        _write(output / "response.json", response)
    _write(output / "inference_metrics.json", metrics)
    _report(metrics)
    if failures:
        raise typer.Exit(1)


def _tone(client: Client) -> dict[str, Any]:
    """A tone made by another program than this project's; any well-formed answer will do."""
    try:
        wav = sox_tone()
    except RuntimeError as error:
        raise ProbeError(str(error)) from None
    if wav is None:
        return {"sent": False, "reason": "sox is not installed"}
    answer = client.predict(wav, "tone.wav", "multipart").answer
    return {"sent": True, "hertz": TONE_HZ, "prediction": answer["prediction"], "confidence": answer["confidence"]}


def _limits(
    metrics: dict[str, Any], min_accuracy: float | None, max_latency_ms: float | None, failures: list[str]
) -> dict[str, Any]:
    """The limits that were given, each with its verdict; a missed one is added to `failures`."""
    limits: dict[str, Any] = {}
    if min_accuracy is not None:
        value = metrics.get("accuracy")
        passed = value is not None and value >= min_accuracy
        limits["min_accuracy"] = {"metric": "accuracy", "limit": min_accuracy, "value": value, "passed": passed}
        if value is not None and not passed:
            failures.append(f"accuracy {value:.4f} is below the limit {min_accuracy:g}")
    if max_latency_ms is not None:
        value = metrics.get("p95_ms")
        passed = value is not None and value <= max_latency_ms
        limits["max_latency_ms"] = {"metric": "p95_ms", "limit": max_latency_ms, "value": value, "passed": passed}
        if value is not None and not passed:
            failures.append(f"p95 latency {value:.2f} ms is above the limit {max_latency_ms:g} ms")
    return limits


def _write(path: Path, document: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def _report(metrics: dict[str, Any]) -> None:
    if "p95_ms" in metrics:
        print(
            f"latency   p50 {metrics['p50_ms']:.2f}, p95 {metrics['p95_ms']:.2f}, p99 {metrics['p99_ms']:.2f} ms "
            f"over {metrics['requests']} requests; inside the model {metrics['server_latency_ms']:.2f} ms"
        )
    if "tone" in metrics and not metrics["tone"]["sent"]:
        print(f"tone      not sent: {metrics['tone']['reason']}")
    print(f"model     {metrics['model_version']}")
    for failure in metrics["failures"]:
        print(f"probe: {failure}", file=sys.stderr)


if __name__ == "__main__":
    cli(prog_name="python -m service.probe")
