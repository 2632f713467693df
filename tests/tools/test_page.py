"""The page for a person, from whatever stages have run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import bounds, gates, page
from tools.artifacts import ArtifactError

from .conftest import IMAGE, LAYERED, PROBE, ROOT, Change

BOUNDS = bounds.read(ROOT / "gates.toml")


def judged(folder: Path, release: Path | None = None) -> str:
    gates.judge(folder, BOUNDS, release).write(folder / "gates.json")
    return page.render(folder)


def test_with_the_model_alone_the_rest_is_said_to_be_absent(change: Change) -> None:
    for name in ("inference/inference_metrics.json", "inference/start_time.json", "image/image.json"):
        change(name, None)
    text = page.render(change("image/sbom.cdx.json", None))
    assert "**95.0 %** of 200 test clips right" in text
    assert "Absent: before publishing, published image" in text
    assert "Absent: no image was built" in text
    assert "Not judged in this run." in text
    assert "SBOM" not in text


def test_with_everything_the_page_has_the_figures(change: Change) -> None:
    change("inference/published/inference_metrics.json", {**PROBE, "p50_ms": 1.5})
    text = judged(change("image/image.json", IMAGE))
    assert "answers in **1.5 ms**" in text  # the published image's, not the one before
    assert "| before publishing | 200 | 1.1 | 2.5 | 3.5 | 0.7 | 39 of 40 |" in text
    assert "| model accuracy | 95.00% | >= 85.00% | ✅ |" in text
    assert "| start-up | 1.50 s | - | - |" in text
    assert "**99 MB**" in text
    assert "published as `ghcr.io/me/words@sha256:abc`" in text
    assert "Absent" not in text


def test_each_layer_of_each_platform_has_its_row(change: Change) -> None:
    text = page.render(change("image/image.json", images=[LAYERED, {**LAYERED, "platform": "linux/arm64"}]))
    for platform in ("linux/amd64", "linux/arm64"):
        assert f"Layers of `{platform}`" in text
    assert text.count("| base | 41.0 | 129.0 | `bbbbbbbbbbbb` |") == 2
    assert text.count("| model | 0.3 | 0.3 | `dddddddddddd` |") == 2


def test_the_layers_that_the_last_release_has_too_are_told(change: Change, tmp_path: Path) -> None:
    release = tmp_path / "release.json"
    gates.judge(change(), BOUNDS).write(release)
    base, model = LAYERED["layers"]
    other = {**LAYERED, "layers": [base, {**model, "digest": f"sha256:{'e' * 64}"}]}
    text = judged(change("image/image.json", images=[other]), release)
    assert "| base | 41.0 | 129.0 | `bbbbbbbbbbbb` | the same |" in text
    assert "| model | 0.3 | 0.3 | `eeeeeeeeeeee` | another |" in text


def test_the_first_line_is_the_failed_gate_and_its_figure_then_the_others(change: Change) -> None:
    change("inference/inference_metrics.json", p95_ms=300)
    lines = judged(change("model/evaluation.json", accuracy=0.5)).splitlines()
    assert lines[0] == "# ❌ model accuracy: 50.00%, the bound is >= 85.00%"
    assert lines[2] == "- ❌ /predict p95: 300 ms, the bound is <= 250 ms"
    assert "| /predict p95 | 300 ms | <= 250 ms | ❌ failed |" in lines


def test_the_first_line_when_all_held(change: Change) -> None:
    assert judged(change()).splitlines()[0] == "# ✅ Keyword classifier: all 13 gates held"


def test_now_the_last_release_and_the_difference(change: Change, tmp_path: Path) -> None:
    release = tmp_path / "release.json"
    gates.judge(change(), BOUNDS).write(release)
    change("inference/inference_metrics.json", p95_ms=4.0)
    text = judged(change("model/evaluation.json", accuracy=0.93, loss=0.25, model_version="new"), release)
    assert "| figure | now | last release (`abc`) | difference |" in text
    assert "| test accuracy | 93.00 % | 95.00 % | -2.00 points |" in text
    assert "| test loss | 0.2500 | 0.2000 | +0.0500 |" in text
    assert "| `/predict` p95 | 4.0 ms | 2.5 ms | +1.5 ms |" in text
    assert text.index("last release") < text.index("## Gates")


def test_no_last_release_is_said(change: Change) -> None:
    assert "No last release to compare with: none was given." in judged(change())
    command = [sys.executable, "-m", "tools.report", str(change()), "--no-release=ghcr.io/me/name holds nothing"]
    assert subprocess.run(command).returncode == 0
    assert "No last release to compare with: ghcr.io/me/name holds nothing." in (change() / "report.md").read_text()


def test_what_the_probe_found_wrong_is_plain_to_see(change: Change) -> None:
    text = judged(change("inference/inference_metrics.json", failures=[f"clip {n} is wrong" for n in range(30)]))
    assert "- ❌ before publishing: clip 0 is wrong" in text
    assert "… and 20 more" in text


def test_a_service_that_never_answered_has_its_row(change: Change) -> None:
    text = page.render(change("inference/inference_metrics.json", {"http_status": None, "failures": ["not ready"]}))
    assert "| before publishing | none | - | - | - | - | - |" in text


def test_the_chart_of_many_epochs_stays_small(change: Change) -> None:
    history = [{"epoch": e, "train_acc": e / 200, "val_acc": 0.9} for e in range(1, 201)]
    lines = page.render(change("model/train_metrics.json", history=history)).splitlines()
    points = [line.count(",") + 1 for line in lines if line.startswith("  line [")]
    assert points == [40, 40]
    assert '  x-axis "epoch" 5 --> 200' in lines


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model/evaluation.json", None, r"evaluation\.json cannot be read"),
        ("model/train_metrics.json", None, r"train_metrics\.json cannot be read"),
        ("model/train_metrics.json", "{", "is not JSON"),
        ("model/train_metrics.json", "[]", "is not a JSON object"),
        ("model/evaluation.json", "{}", r"is of another version \(KeyError"),
        ("image/image.json", "no", r"image\.json is not JSON"),
    ],
)
def test_bad_input_is_one_line_and_leaves_the_earlier_page(
    change: Change, name: str, content: Any, message: str
) -> None:
    folder = change(name, content)
    (folder / "report.md").write_text("of an earlier run")
    with pytest.raises(ArtifactError, match=message) as error:
        page.write(folder)
    assert "\n" not in str(error.value)
    assert (folder / "report.md").read_text() == "of an earlier run"
    assert not list(folder.glob(".report*"))
