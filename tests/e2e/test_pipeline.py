"""`dagger call pipeline` on a real engine: the artefacts, the one archive, and what stops it."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import record
from .conftest import PASSWORD, PIPELINE, ROOT, Call, Repository, Run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

CONTRACT = [
    *("report.md", "gates.json", "model/best_model.pth", "model/model.onnx", "model/train.log", "model/config.json"),
    *("model/train_metrics.json", "model/evaluation.json", "model/report.md", "model/model_card.md"),
    *("image/inference_image.tar", "image/image.json", "image/sbom.cdx.json", "image/osv.json", "image/licences.json"),
    *("image/slsa.json", "inference/response.json", "inference/inference_metrics.json"),
    "inference/published/inference_metrics.json",
]


def test_every_artefact_is_there_and_without_the_password(first_run: Run) -> None:
    assert [path for path in CONTRACT if not (first_run.artifacts / path).is_file()] == []
    assert not [path for path in CONTRACT if not (first_run.artifacts / path).stat().st_size]
    assert PASSWORD not in first_run.printed
    for path in first_run.artifacts.rglob("*"):
        assert path.is_dir() or PASSWORD.encode() not in path.read_bytes(), path


def test_metrics_hold_together(first_run: Run) -> None:
    evaluation = first_run.json("model/evaluation.json")
    assert evaluation["labels"] == ["up", "down", "yes", "no", "_unknown_", "_silence_"]
    assert evaluation["accuracy"] >= 0.85
    training = first_run.json("model/train_metrics.json")
    assert {"epochs", "best_val_loss", "last_val_acc", "training_time_sec", "history"} <= set(training)
    assert training["revision"] == "0123abc"
    for metrics in ("inference/inference_metrics.json", "inference/published/inference_metrics.json"):
        served = first_run.json(metrics)
        assert served["http_status"] == 200
        assert served["model_version"] == training["model_version"]
    answer = first_run.json("inference/response.json")
    assert {"prediction", "accepted", "threshold"} <= set(answer)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def files_in_layers(archive: Path, layers: list[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of every regular file in the layers of an OCI archive."""
    with tarfile.open(archive) as tar:
        for digest in layers:
            with tarfile.open(fileobj=tar.extractfile(f"blobs/{digest.replace(':', '/')}")) as layer:
                for member in layer:
                    content = layer.extractfile(member) if member.isfile() else None
                    yield member.name, content.read() if content else b""


def test_one_archive_was_tested_scanned_judged_and_published(first_run: Run) -> None:
    image = first_run.json("image/image.json")
    with tarfile.open(first_run.artifacts / "image/inference_image.tar") as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
    assert [manifest["digest"] for manifest in index["manifests"]] == [image["digest"]]
    assert first_run.repository.tags() == ["latest", "model-v1", "v1"]
    assert {first_run.repository.digest(tag) for tag in ("latest", "v1")} == {image["digest"]}
    manifest, _ = first_run.repository.get("manifests/v1")
    assert [layer["digest"] for layer in manifest["layers"]] == [layer["digest"] for layer in image["layers"]]
    verdict = first_run.json("gates.json")["run"]
    assert verdict["published"] == f"{first_run.repository.address}@{image['digest']}"


def test_the_image_is_as_promised(first_run: Run) -> None:
    image = first_run.json("image/image.json")
    assert image["platforms"] == ["linux/amd64"]
    assert image["labels"]["org.opencontainers.image.revision"] == "0123abc"
    layers = [layer["digest"] for layer in image["layers"]]
    files = dict(files_in_layers(first_run.artifacts / "image/inference_image.tar", layers[-3:]))
    assert {"app/model.onnx", "app/kws/audio.py", "app/service/app.py"} <= set(files)
    assert not [name for name in files if "/site-packages/torch" in name or name.startswith(("app/model/", "app/ci"))]
    assert not [name for name in files if name.endswith(("/bin/uv", "/bin/gcc"))]
    assert not [name for name, content in files.items() if PASSWORD.encode() in content]
    own = dict(files_in_layers(first_run.artifacts / "image/inference_image.tar", layers[-1:]))
    assert [name for name, content in own.items() if content] == ["app/model.onnx"]
    assert own["app/model.onnx"] == (first_run.artifacts / "model/model.onnx").read_bytes()


def test_the_sbom_names_what_the_image_holds(first_run: Run) -> None:
    components = first_run.json("image/sbom.cdx.json")["components"]
    assert {"library", "machine-learning-model", "data"} <= {component["type"] for component in components}
    names = {component["name"].lower() for component in components}
    assert {"flask", "gunicorn", "onnxruntime", "numpy", "libc6"} <= names
    assert "torch" not in names


def test_an_identical_call_trains_nothing_and_compares_with_the_last_release(
    first_run: Run, call: Call, tmp_path: Path
) -> None:
    again = call(*first_run.shared, *PIPELINE, "--publish=false", "export", f"--path={tmp_path / 'artifacts'}")
    ran, cached = record.read(again.stderr)
    assert "model train" in cached
    assert not {"model train", "service.test_client", "regctl image mod"} & ran
    verdict = json.loads((tmp_path / "artifacts" / "gates.json").read_text())
    assert verdict["last"]["figures"]["accuracy"] == first_run.json("gates.json")["figures"]["accuracy"]
    assert not (tmp_path / "artifacts" / "inference" / "published").exists()


def test_a_missed_gate_publishes_nothing_and_still_reports(
    shared: list[str], repository: Repository, call: Call, tmp_path: Path
) -> None:
    output = tmp_path / "artifacts"
    target = [*repository.options, "--unsigned"]
    call(*shared, *target, *PIPELINE, "--bounds=min_accuracy=0.999", "export", f"--path={output}")
    assert repository.all_tags() == []
    assert "99.9" in (output / "report.md").read_text().splitlines()[0]
    assert "failed: test accuracy" in call("gates", f"--artifacts={output}", fails=True).stderr
    assert call("verdict", f"--artifacts={output}", "passed").stdout.strip() == "false"


def test_a_training_that_fails_leaves_its_log_first_in_the_report(dataset: Path, call: Call, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    shutil.copytree(ROOT / "model", broken, ignore=shutil.ignore_patterns("__pycache__"))
    with (broken / "network.py").open("a") as source:
        source.write("\nraise RuntimeError('the processor is on fire')\n")
    output = tmp_path / "artifacts"
    call(f"--model-source={broken}", f"--dataset={dataset}", *PIPELINE, "export", f"--path={output}")
    assert "the processor is on fire" in (output / "model" / "train.log").read_text()
    assert "the processor is on fire" in (output / "report.md").read_text().split("\n\n")[0]
    assert "training" in call("gates", f"--artifacts={output}", fails=True).stderr


WRONG = {
    "answers wrongly": ("labels[values.index(confidence)]", "labels[0]"),
    "does not start": ("import json\n", "import json\nimport nothing_of_that_name\n"),
}


@pytest.mark.parametrize("edit", WRONG.values(), ids=WRONG)
def test_a_broken_service_is_never_published(
    shared: list[str], repository: Repository, call: Call, tmp_path: Path, edit: tuple[str, str]
) -> None:
    broken = tmp_path / "service"
    shutil.copytree(ROOT / "service", broken, ignore=shutil.ignore_patterns("__pycache__"))
    text = (broken / "predict.py").read_text()
    right, wrong = edit
    assert right in text
    (broken / "predict.py").write_text(text.replace(right, wrong, 1))
    output = tmp_path / "artifacts"
    target = [*repository.options, "--unsigned", f"--service-source={broken}"]
    call(*shared, *target, *PIPELINE, "export", f"--path={output}")
    assert repository.all_tags() == []
    assert "/predict" in call("gates", f"--artifacts={output}", fails=True).stderr
