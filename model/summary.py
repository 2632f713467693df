"""One page for a person from the artefact directory: ``python -m model.summary ARTIFACTS`` writes its ``report.md``.

The same page is the GitHub job summary. Standard library only: it runs where torch is not installed.
"""

import json
import sys
from pathlib import Path
from typing import Any

from model.errors import UserError
from model.markdown import percent, table

_MODEL = "model"
_INFERENCE = "inference/inference_metrics.json"
_PUBLISHED = "inference/published/inference_metrics.json"
_IMAGE = "image/image.json"
_GATES = "gates.json"


def read(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None when there is no such file.

    Raises:
        UserError: the file is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"'{path}' is not JSON ({error}); run the stage that writes it again") from error
    if not isinstance(content, dict):
        raise UserError(f"'{path}' is not a JSON object; run the stage that writes it again")
    return content


def render(artefacts: Path) -> str:
    """The page, from whatever the directory holds; what is optional and missing is said to be absent.

    Raises:
        UserError: the model's part is missing, or a file is not what it should be.
    """
    parts = {}
    for name in ("train_metrics.json", "evaluation.json"):
        path = artefacts / _MODEL / name
        content = read(path)
        if content is None:
            raise UserError(f"'{path}' is missing; run `python -m model train --output {path.parent}` first")
        parts[name] = content
    metrics, evaluation = parts["train_metrics.json"], parts["evaluation.json"]
    optional = (_INFERENCE, _PUBLISHED, _IMAGE, _GATES)
    inference, published, image, verdict = (read(artefacts / name) for name in optional)
    try:
        sections = [
            "# Keyword classifier: pipeline report",
            *_failed(verdict),
            _headline(metrics, evaluation, inference, published, image),
            *_gates(verdict, {"before publishing": inference, "published image": published}),
            *_test_split(evaluation),
            *_training(metrics),
            *_latency(inference, published),
            *_image(image),
            _links(artefacts),
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the files in '{artefacts}' are of another version ({type(error).__name__}: {error}); run the stages again"
        ) from error
    return "\n\n".join(sections) + "\n"


def write(artefacts: Path) -> Path:
    """Write ``report.md`` into the artefact directory, whole or not at all; its path."""
    path = artefacts / "report.md"
    new = path.with_name(".report.md.new")
    text = render(artefacts)
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise UserError(f"'{path}' cannot be written ({error.strerror}); free space or change permissions") from error
    return path


def _headline(
    metrics: dict[str, Any],
    evaluation: dict[str, Any],
    inference: dict[str, Any] | None,
    published: dict[str, Any] | None,
    image: dict[str, Any] | None,
) -> str:
    low, high = evaluation["accuracy_interval_95"]
    lines = [
        f"**{percent(evaluation['accuracy'])}** of {evaluation['n']} test clips right "
        f"(95 % interval {percent(low)} to {percent(high)}), trained in {metrics['training_time_sec']:.0f} s, "
        f"model version `{evaluation['model_version']}`."
    ]
    served = published or inference
    if served and "p50_ms" in served:
        lines.append(
            f"`/predict` answers in **{served['p50_ms']:.1f} ms** (median; 95 % within {served['p95_ms']:.1f} ms)."
        )
    if image:
        size = image.get("size_bytes")
        reference = image.get("reference")
        lines.append(
            ("The image has " + (f"**{size / 1e6:.0f} MB**" if size else "an unknown size"))
            + (f" and is published as `{reference}`." if reference else " and was not published.")
        )
    return "\n".join(lines)


def _failed(verdict: dict[str, Any] | None) -> list[str]:
    """What a reader must see first: each gate that was missed, with its figure."""
    failed = [gate for gate in (verdict or {}).get("gates", []) if not gate["passed"]]
    return (
        ["\n".join(f"- ❌ **{g['name']}**: {g['value']}, the bound is {g['bound']}" for g in failed)] if failed else []
    )


def _gates(verdict: dict[str, Any] | None, probes: dict[str, dict[str, Any] | None]) -> list[str]:
    """The pipeline's own verdict (``gates.json``), and the limits that each probe was given."""
    rows = [[gate["name"], gate["value"], gate["bound"], gate["passed"]] for gate in (verdict or {}).get("gates", [])]
    for where, probe in probes.items():
        for name, limit in ((probe or {}).get("limits") or {}).items():
            rows.append([f"{name} ({where})", _number(limit.get("value")), _number(limit["limit"]), limit["passed"]])
    failures = [
        f"- ❌ {where}: {what}" for where, probe in probes.items() for what in (probe or {}).get("failures") or []
    ]
    if not rows and not failures:
        return ["## Gates", "No limits were set."]
    parts = ["## Gates"]
    if rows:
        shown = [[*row[:3], "✅" if row[3] else "❌ missed"] for row in rows]
        parts.append(table(["gate", "value", "bound", "met"], shown))
    if len(failures) > 10:
        failures = [*failures[:10], f"- … and {len(failures) - 10} more in `inference_metrics.json`"]
    return [*parts, "\n".join(failures)] if failures else parts


def _test_split(evaluation: dict[str, Any]) -> list[str]:
    labels = evaluation["labels"]
    figures = [
        [label, percent(f["precision"]), percent(f["recall"]), percent(f["f1"]), f["clips"]]
        for label, f in evaluation["per_class"].items()
    ]
    matrix = [[f"**{label}**", *row] for label, row in zip(labels, evaluation["confusion_matrix"], strict=True)]
    return [
        "## Test split",
        table(["label", "precision", "recall", "F1", "clips"], figures),
        "Confusion matrix (rows: said, columns: heard):",
        table(["", *labels], matrix),
    ]


def _training(metrics: dict[str, Any]) -> list[str]:
    data = metrics["data"]
    columns = ["read", "padded", "cut", "silent", "broken"]
    rows = [[name, *(audit[column] for column in columns)] for name, audit in data["splits"].items()]
    settings = metrics["settings"]
    return [
        "## Data",
        f"{data['source']}, split by {data['split_rule']}, digest `{data['digest'][:12]}`, "
        f"licence: {data['licence'] or 'not known'}.",
        table(["split", *columns], rows),
        "## Training",
        table(
            ["what", "value"],
            [
                ["profile", settings["profile"]],
                ["epochs (kept)", f"{metrics['epochs']} ({metrics['best_epoch']})"],
                ["best validation", f"{percent(metrics['best_val_acc'])}, loss {metrics['best_val_loss']:.4f}"],
                ["seed", metrics["seed"]],
                ["parameters", f"{metrics['parameters']:,}"],
                ["speed", f"{metrics['samples_per_sec']:,.0f} clips/s"],
                ["ONNX file", f"{metrics['onnx']['size_bytes'] / 1e6:.2f} MB"],
                ["ONNX against PyTorch", f"{metrics['onnx']['parity_max_difference']:.1e}"],
            ],
        ),
    ]


def _latency(inference: dict[str, Any] | None, published: dict[str, Any] | None) -> list[str]:
    parts = ["## `/predict`"]
    probes = {"before publishing": inference, "published image": published}
    rows = [
        [
            where,
            probe.get("http_status") or "none",
            *(_number(probe.get(key)) for key in ("p50_ms", "p95_ms", "p99_ms", "server_latency_ms")),
            f"{probe['correct']} of {probe['clips']}" if "clips" in probe else "-",
        ]
        for where, probe in probes.items()
        if probe
    ]
    if rows:
        parts.append(table(["image", "status", "p50 ms", "p95 ms", "p99 ms", "inside ms", "clips right"], rows))
    absent = [where for where, probe in probes.items() if not probe]
    return [*parts, f"Absent: {', '.join(absent)} (not tested in this run)."] if absent else parts


def _image(image: dict[str, Any] | None) -> list[str]:
    if not image:
        return ["## Image", "Absent: no image was built in this run."]
    size = image.get("size_bytes")
    platforms = image.get("platforms") or []
    rows = [
        ["reference", f"`{image['reference']}`" if image.get("reference") else "not published"],
        ["digest", f"`{image['digest']}`" if image.get("digest") else "not known"],
        ["size", f"{size / 1e6:.1f} MB" if size else "not known"],
        ["platforms", ", ".join(platforms) if platforms else "not known"],
        *([f"label `{name}`", value] for name, value in (image.get("labels") or {}).items()),
    ]
    return ["## Image", table(["what", "value"], rows)]


def _links(artefacts: Path) -> str:
    known = [
        ("Training report", "model/report.md"),
        ("Loss and accuracy by epoch", "model/plots/curves.svg"),
        ("Confusion matrix", "model/plots/confusion.svg"),
        ("Training log", "model/train.log"),
        ("One answer of /predict", "inference/response.json"),
        ("What is in the image (SBOM)", "image/sbom.cdx.json"),
    ]
    links = [f"- [{title}]({path})" for title, path in known if (artefacts / path).exists()]
    return "## More\n\n" + ("\n".join(links) if links else "Nothing else is in the artefact directory.")


def _number(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def main(arguments: list[str]) -> int:
    """The command line; 2 on bad input, with one line on stderr."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        asked = arguments[:1] in (["-h"], ["--help"])
        print("usage: python -m model.summary ARTIFACTS", file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    try:
        print(write(Path(arguments[0])))
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
