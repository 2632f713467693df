"""`dagger call pipeline` on a real engine: the artefacts, the published image, the gates."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import PASSWORD, ROOT, Call, Repository, Run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

CONTRACT = [
    "report.md",
    "gates.json",
    "model/best_model.pth",
    "model/model.onnx",
    "model/train.log",
    "model/train_metrics.json",
    "model/evaluation.json",
    "model/report.md",
    "model/plots/curves.svg",
    "model/plots/confusion.svg",
    "image/inference_image.tar",
    "image/image.json",
    "image/sbom.cdx.json",
    "inference/response.json",
    "inference/inference_metrics.json",
    "inference/published/inference_metrics.json",
]


def test_every_artefact_is_there(first_run: Run) -> None:
    missing = [path for path in CONTRACT if not (first_run.artifacts / path).is_file()]
    assert missing == []
    assert not [path for path in CONTRACT if not (first_run.artifacts / path).stat().st_size]


def test_metrics_hold_together(first_run: Run) -> None:
    training = first_run.json("model/train_metrics.json")
    assert {"epochs", "best_val_loss", "last_val_acc", "training_time_sec", "history"} <= set(training)
    assert len(training["history"]) == training["epochs"]
    evaluation = first_run.json("model/evaluation.json")
    assert evaluation["accuracy"] >= 0.9
    for metrics in ("inference/inference_metrics.json", "inference/published/inference_metrics.json"):
        served = first_run.json(metrics)
        assert served["http_status"] == 200
        assert served["latency_ms"] > 0
        assert served["model_version"] == training["model_version"] == evaluation["model_version"]
        assert served["accuracy"] >= 0.8
    answer = first_run.json("inference/response.json")
    assert answer["prediction"] in evaluation["labels"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_the_digest_in_the_registry_is_the_one_tested(first_run: Run) -> None:
    image = first_run.json("image/image.json")
    assert image["reference"] == f"{first_run.repository.address}@{image['digest']}"
    assert sorted(first_run.repository.tags()) == ["latest", "v1"]
    for tag in ("latest", "v1"):
        manifest, digest = first_run.repository.get(f"manifests/{tag}")
        assert digest == image["digest"]
        assert [layer["digest"] for layer in manifest["layers"]] == [layer["digest"] for layer in image["layers"]]


def test_the_image_is_as_promised(first_run: Run) -> None:
    image = first_run.json("image/image.json")
    assert int(image["user"].split(":")[0]) > 0
    assert image["platforms"] == ["linux/amd64"]
    assert image["labels"]["org.opencontainers.image.source"] == "https://example.org/kws"
    assert image["labels"]["org.opencontainers.image.revision"] == "0123abc"


def files_in_layers(archive: Path, layers: list[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of every regular file in the layers of an OCI archive."""
    with tarfile.open(archive) as tar:
        for digest in layers:
            blob = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert blob is not None
            with tarfile.open(fileobj=io.BytesIO(blob.read())) as layer:
                for member in layer:
                    content = layer.extractfile(member) if member.isfile() else None
                    yield member.name, content.read() if content else b""


def test_the_image_holds_neither_torch_nor_trainer_nor_secret(first_run: Run) -> None:
    image = first_run.json("image/image.json")
    layers = [layer["digest"] for layer in image["layers"]]
    names = set()
    for name, content in files_in_layers(first_run.artifacts / "image/inference_image.tar", layers):
        names.add(name)
        assert PASSWORD.encode() not in content, name
    assert "app/model.onnx" in names
    assert any(name.startswith("app/service/") for name in names)
    assert not [name for name in names if "/site-packages/torch" in name or name.startswith(("app/model/", "app/ci"))]
    assert not [name for name in names if name.endswith(("/bin/uv", "/bin/gcc"))]


def test_the_model_is_the_last_layer_alone(first_run: Run) -> None:
    image = first_run.json("image/image.json")
    last = list(files_in_layers(first_run.artifacts / "image/inference_image.tar", [image["layers"][-1]["digest"]]))
    files = [name for name, content in last if content]
    assert files == ["app/model.onnx"]
    assert dict(last)["app/model.onnx"] == (first_run.artifacts / "model/model.onnx").read_bytes()


def test_the_password_is_in_no_artefact_and_no_output(first_run: Run) -> None:
    assert PASSWORD not in first_run.printed
    for path in first_run.artifacts.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


def test_the_sbom_names_what_the_image_holds(first_run: Run) -> None:
    components = {component["name"].lower() for component in first_run.json("image/sbom.cdx.json")["components"]}
    assert {"flask", "gunicorn", "onnxruntime", "numpy"} <= components
    assert "torch" not in components


def test_the_report_says_so(first_run: Run) -> None:
    report = (first_run.artifacts / "report.md").read_text()
    assert first_run.json("image/image.json")["reference"] in report
    assert first_run.json("gates.json")["passed"] is True


def test_the_first_release_has_none_to_compare_with(first_run: Run) -> None:
    report = (first_run.artifacts / "report.md").read_text()
    assert f"No last release to compare with: {first_run.repository.address} holds nothing under latest." in report


def test_the_last_release_is_read_back(first_run: Run, call: Call, tmp_path: Path) -> None:
    call(*first_run.arguments, "--publish=false", "--output", str(tmp_path / "artifacts"))
    verdict = json.loads((tmp_path / "artifacts" / "gates.json").read_text())
    assert verdict["release"] == first_run.json("gates.json")["figures"]
    (loss,) = [gate for gate in verdict["gates"] if gate["name"] == "loss against the last release"]
    assert (loss["value"], loss["passed"]) == ("+0.0000", True)
    assert not (tmp_path / "artifacts" / "inference" / "published").exists()


def test_an_identical_call_trains_nothing_and_is_quick(first_run: Run, call: Call, tmp_path: Path) -> None:
    began = time.monotonic()
    call(*first_run.arguments, "--output", str(tmp_path / "artifacts"))
    spent = time.monotonic() - began
    for path in ("model/train.log", "model/best_model.pth"):
        assert (tmp_path / "artifacts" / path).read_bytes() == (first_run.artifacts / path).read_bytes()
    assert spent < 60, "20 s on an idle machine"


def test_a_missed_gate_publishes_nothing_and_still_reports(
    dataset: Path, repository: Repository, call: Call, tmp_path: Path
) -> None:
    output = tmp_path / "artifacts"
    arguments = [f"--dataset={dataset}", "--profile=quick", *repository.options, "--bounds=min_accuracy=0.999"]
    call("pipeline", *arguments, "--output", str(output))
    assert repository.tags() == []
    verdict = json.loads((output / "gates.json").read_text())
    assert [gate["name"] for gate in verdict["gates"] if gate["passed"] is False] == ["model accuracy"]
    assert "99.9" in (output / "report.md").read_text()
    failed = call("gates", f"--artifacts={output}", fails=True)
    assert "gate failed: model accuracy" in failed.stderr


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        pytest.param(
            "routes/predict.py", '"prediction": labels[best]', '"prediction": labels[0]', id="answers wrongly"
        ),
        pytest.param(
            "app.py", "def create_app(", "import nothing_of_that_name\n\n\ndef create_app(", id="does not start"
        ),
    ],
)
def test_a_broken_service_is_never_published(
    dataset: Path, repository: Repository, call: Call, tmp_path: Path, file: str, right: str, wrong: str
) -> None:
    broken = tmp_path / "service"
    shutil.copytree(ROOT / "service", broken, ignore=shutil.ignore_patterns("__pycache__"))
    text = (broken / file).read_text()
    assert right in text
    (broken / file).write_text(text.replace(right, wrong))
    output = tmp_path / "artifacts"
    arguments = [f"--dataset={dataset}", "--profile=quick", *repository.options]
    call(f"--service-source={broken}", "pipeline", *arguments, "--output", str(output))
    assert repository.tags() == []
    verdict = json.loads((output / "gates.json").read_text())
    assert "/predict answers" in [gate["name"] for gate in verdict["gates"] if not gate["passed"]]
    assert (output / "report.md").is_file()
    assert "gate failed: /predict answers" in call("gates", f"--artifacts={output}", fails=True).stderr
