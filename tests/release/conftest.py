"""An artefact directory as the pipeline leaves it, small and written by hand, in which every gate holds."""

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from release.__main__ import main
from release.artifacts import LICENCES, SBOM, Artifacts
from release.gates import DENIED, FAILED, LAST, judge, read_bounds
from release.licences import of_sbom

ROOT = Path(__file__).resolve().parents[2]
DIGEST = f"sha256:{'d' * 64}"
PUBLISHED = f"ghcr.io/me/words@{DIGEST}"
CLASS = {"precision": 0.95, "recall": 0.95, "f1": 0.95, "clips": 100}
TIMES = {"p50_ms": 1.1, "p95_ms": 2.5, "p99_ms": 3.5, "server_latency_ms": 0.7}
ANSWERS = {"http_status": 200, "accuracy": 0.975, "clips": 40, "correct": 39, "failures": [], "model_version": "abc"}
PROBE = TIMES | ANSWERS
CONTENTS: dict[str, Any] = {
    "model/evaluation.json": {
        "n": 200,
        "accuracy": 0.95,
        "accuracy_interval_95": [0.91, 0.97],
        "keyword_accuracy": 0.95,
        "keyword_accuracy_interval_95": [0.91, 0.97],
        "loss": 0.2,
        "model_version": "abc",
        "test_clips_digest": "c1",
        "labels": ["up", "no", "_unknown_"],
        "per_class": {"up": CLASS, "no": CLASS, "_unknown_": CLASS},
        "confusion_matrix": [[94, 6, 0], [4, 96, 0], [0, 5, 95]],
        "mistakes": [{"clip": "up/a|b.wav", "label": "up", "prediction": "no", "probability": 0.9}],
        "robustness": {
            "cases": [
                {"group": "gain", "name": "gain of 6 dB", "accuracy": 0.95, "difference": 0.0},
                {"group": "noise", "name": "noise at 0 dB", "accuracy": 0.87, "difference": -0.08},
            ]
        },
        "data": {"source": "synthetic", "licence": "CC0 1.0", "speakers_known": True}
        | {"leaks": {"speakers": 0, "recordings": 0, "examples": []}},
        "caveats": ["9 clips were left out"],
        "running_audio": {
            "operating": {"medium": {"misses": {"share": 0.12, "clips": 100}, "false_accepts_per_hour": 1.4}}
        },
        "parity": {"clips": 200, "max_difference": 6.6e-7},
        "not_measured": {"synthetic voices": "the data set has such voices itself"},
    },
    "model/train_metrics.json": {
        "training_time_sec": 14.2,
        "revision": "0123abc",
        "settings": {"profile": "quick", "seed": 0},
        "history": [{"train_acc": 0.52, "val_acc": 0.81}, {"train_acc": 0.91, "val_acc": 0.96}],
    },
    "inference/inference_metrics.json": PROBE,
    "inference/published/inference_metrics.json": PROBE,
    "image/image.json": {"digest": DIGEST, "platform": "linux/amd64", "platforms": ["linux/amd64"], "labels": {}}
    | {"size_bytes": 98_700_000, "layers": [{"digest": "sha256:bb", "size_bytes": 98_700_000}]},
    "image/sbom.cdx.json": {
        "components": [
            {"name": "flask", "licenses": [{"license": {"id": "BSD-3-Clause"}}]},
            {"name": "packaging", "licenses": [{"expression": "Apache-2.0 OR BSD-2-Clause"}]},
        ]
    },
    "image/osv.json": {"asked": "api.osv.dev", "packages": 2, "unasked": ["python 3.13"]}
    | {"failed": [], "unfixed": [], "accepted": []},
}
# The files without which a run is not whole; the others are the image's that was published.
FILES = list(CONTENTS)

Change = Callable[..., Path]


@pytest.fixture
def change(tmp_path: Path) -> Change:
    """``change("model/evaluation.json", accuracy=0.5)``: the directory with that key replaced (None: without it).

    Without a key, the whole file: ``change("image/osv.json", None)`` removes it, a str is its text.
    """
    return lambda *change, **keys: write(tmp_path / "artifacts", *change, **keys)


def write(folder: Path, name: str = "", whole: Any = ..., **keys: Any) -> Path:
    """The directory of CONTENTS, unless it is there, with one file changed."""
    for file, content in CONTENTS.items():
        if not folder.joinpath("written").exists():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(json.dumps(content))
    folder.joinpath("written").touch()
    path = folder / name
    if name and whole is None:
        path.unlink()
    elif name:
        content = whole if whole is not ... else json.loads(path.read_text())
        content = {key: value for key, value in {**content, **keys}.items() if value is not None} if keys else content
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def judged(folder: Path, *bounds: str, last: Any = None, without: Any = (), published: str = PUBLISHED) -> Any:
    """``gates.json`` by the project's own bounds, as the command line makes it."""
    held, by_hand = read_bounds(ROOT / "gates.toml", bounds)
    components = of_sbom(Artifacts(folder).read(SBOM), held[DENIED] or [], by_hand)
    run = Artifacts(folder, {LICENCES: components, LAST: {"error": "none was given"} if last is None else last})
    return judge(run, held, without, published)


def those(judged: Any, verdict: str) -> list[str]:
    """The names of the gates with a verdict."""
    return [gate["name"] for gate in judged["gates"] if gate["verdict"] == verdict]


def failed(folder: Path, *bounds: str, **more: Any) -> list[str]:
    """The names of the gates that failed."""
    return those(judged(folder, *bounds, **more), FAILED)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``run("judge", folder)``, as on the command line → exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["release", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    monkeypatch.chdir(ROOT)
    return call


def contents(name: str) -> Any:
    """A copy of a file's content, to be changed."""
    return copy.deepcopy(CONTENTS[name])
