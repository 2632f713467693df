"""``report.md``: one page for a person from the artefact directory; also the GitHub job summary.

Standard library only. Its pictures are Mermaid charts, which a job summary shows where it shows no attached file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.markdown import percent, table
from tools.artifacts import ArtifactError, read, read_optional, same_version
from tools.figures import FIGURES, same_clips

_MODEL = "model"
_INFERENCE = "inference/inference_metrics.json"
_PUBLISHED = "inference/published/inference_metrics.json"
_IMAGE = "image/image.json"
_GATES = "gates.json"
_MARKS = {True: "✅", False: "❌ failed", None: "not judged"}


def render(artifacts: Path) -> str:
    """The page, from whatever the directory holds; what is optional and missing is said to be absent.

    Raises ArtifactError: the model's part is missing, or a file is not what it should be.
    """
    metrics, evaluation = (read(artifacts / _MODEL / name) for name in ("train_metrics.json", "evaluation.json"))
    inference, published, image, verdict = (
        read_optional(artifacts / name) for name in (_INFERENCE, _PUBLISHED, _IMAGE, _GATES)
    )
    with same_version(artifacts):
        sections = [
            *_verdict(verdict),
            _headline(metrics, evaluation, inference, published, image),
            *_comparison(verdict),
            *_gates(verdict, {"before publishing": inference, "published image": published}),
            *_test_split(evaluation),
            *_training(metrics),
            *_latency(inference, published),
            *_image(image, ((verdict or {}).get("release") or {}).get("layers") or []),
            _links(artifacts),
        ]
    return "\n\n".join(sections) + "\n"


def write(artifacts: Path) -> Path:
    """Write ``report.md`` into the artefact directory, whole or not at all; its path."""
    path = artifacts / "report.md"
    new = path.with_name(".report.md.new")
    text = render(artifacts)
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ArtifactError(f"{path} cannot be written ({error.strerror}); free space or change permissions") from error
    return path


def _verdict(verdict: dict[str, Any] | None) -> list[str]:
    """The first line: what failed and by what figure. Those that failed with it follow."""
    if verdict is None:
        return ["# Keyword classifier: pipeline report"]
    failed = [
        f"{gate['name']}: {gate['value']}, the bound is {gate['bound']}"
        for gate in verdict["gates"]
        if gate["passed"] is False
    ]
    if not failed:
        held = sum(gate["passed"] is True for gate in verdict["gates"])
        return [f"# ✅ Keyword classifier: all {held} gates held"]
    return [f"# ❌ {failed[0]}", *(["\n".join(f"- ❌ {line}" for line in failed[1:])] if failed[1:] else [])]


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


def _comparison(verdict: dict[str, Any] | None) -> list[str]:
    """Now, the last release, and what lies between."""
    if verdict is None:
        return []
    now, last = verdict["figures"], verdict["release"]
    rows = [
        [figure.title, figure.text(now.get(name)), *_beside(name, now, last)]
        for name, figure in FIGURES.items()
        if now.get(name) is not None or (last or {}).get(name) is not None
    ]
    heading = f"last release (`{last['model_version']}`)" if last else "last release"
    parts = [table(["figure", "now", heading, "difference"], rows)]
    if last is None:
        return [*parts, f"No last release to compare with: {verdict['no_release']}."]
    if not same_clips(now, last):
        parts.append("The last release was measured on other test clips: its figures of the model do not compare.")
    return parts


def _beside(name: str, now: dict[str, Any], last: dict[str, Any] | None) -> list[str]:
    figure = FIGURES[name]
    return (
        ["-", "-"] if last is None else [figure.text(last.get(name)), figure.difference(now.get(name), last.get(name))]
    )


def _gates(verdict: dict[str, Any] | None, probes: dict[str, dict[str, Any] | None]) -> list[str]:
    """Each gate of the verdict, and what the probes found wrong."""
    parts = ["## Gates"]
    if verdict is None:
        parts.append("Not judged in this run.")
    else:
        rows = [[gate["name"], gate["value"], gate["bound"], _MARKS[gate["passed"]]] for gate in verdict["gates"]]
        parts.append(table(["gate", "value", "bound", "verdict"], rows))
    failures = [
        f"- ❌ {where}: {what}" for where, probe in probes.items() for what in (probe or {}).get("failures") or []
    ]
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
        *_curves(metrics["history"]),
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


def _curves(history: list[dict[str, float]]) -> list[str]:
    """Accuracy by epoch as a Mermaid chart, of at most 40 points; a single epoch draws no line."""
    if len(history) < 2:
        return []
    step = -(-len(history) // 40)
    shown = history[step - 1 :: step]
    lines = {what: [round(100 * row[f"{what}_acc"], 2) for row in shown] for what in ("train", "val")}
    floor = 10 * int(min(lines["train"] + lines["val"]) // 10)
    chart = [
        "xychart-beta",
        '  title "Accuracy by epoch, %: training (first line) and validation (second)"',
        f'  x-axis "epoch" {shown[0]["epoch"]} --> {shown[-1]["epoch"]}',
        f"  y-axis {floor} --> 100",
        *(f"  line {values}" for values in lines.values()),
    ]
    return ["```mermaid\n" + "\n".join(chart) + "\n```"]


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


def _image(image: dict[str, Any] | None, released: list[str]) -> list[str]:
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
    return ["## Image", table(["what", "value"], rows), *_layers(image.get("images") or [], released)]


def _layers(images: list[dict[str, Any]], released: list[str]) -> list[str]:
    """What each layer is and weighs, and whether the last release has it too; a table for each platform."""
    parts = []
    columns = ["layer", "MB compressed", "MB unpacked", "digest", *(["last release"] if released else [])]
    for image in images:
        rows = [
            [
                layer["name"] or "not named",
                f"{layer['size_bytes'] / 1e6:.1f}",
                f"{layer['unpacked_bytes'] / 1e6:.1f}",
                f"`{layer['digest'].partition(':')[2][:12]}`",
                *(["the same" if layer["digest"] in released else "another"] if released else []),
            ]
            for layer in image["layers"]
        ]
        parts.append(f"Layers of `{image['platform']}`, bottom first:")
        parts.append(table(columns, rows))
    return parts


def _links(artifacts: Path) -> str:
    known = [
        ("Training report", "model/report.md"),
        ("Loss and accuracy by epoch", "model/plots/curves.svg"),
        ("Confusion matrix", "model/plots/confusion.svg"),
        ("Training log", "model/train.log"),
        ("One answer of /predict", "inference/response.json"),
        ("What is in the image (SBOM)", "image/sbom.cdx.json"),
    ]
    links = [f"- [{title}]({path})" for title, path in known if (artifacts / path).exists()]
    return "## More\n\n" + ("\n".join(links) if links else "Nothing else is in the artefact directory.")


def _number(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.4g}"
