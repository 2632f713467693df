"""The whole way on real recordings, with the figures that the project promises of its quick profile."""

import json
import os
from pathlib import Path

import pytest

from model.data.source import CC_BY
from model.settings import DEFAULT_LABELS

from .conftest import ROOT, Cli, done


@pytest.mark.real_data
@pytest.mark.timeout(0)
def test_the_quick_profile_is_accurate(main: Cli, tmp_path: Path) -> None:
    dataset = Path(os.environ.get("KWS_TEST_DATASET", ROOT.parent / "shared/data/speech_commands_subset.tar.gz"))
    if not dataset.exists():
        pytest.skip(f"real data: {dataset} is not there; set KWS_TEST_DATASET")
    done(main("train", "--dataset", dataset, "--output", tmp_path / "model", "--profile", "quick"))
    metrics, evaluation = (
        json.loads((tmp_path / "model" / name).read_text()) for name in ("train_metrics.json", "evaluation.json")
    )
    assert metrics["data"]["labels"] == [*DEFAULT_LABELS, "_unknown_", "_silence_"]
    assert metrics["data"]["unseen_words"] == ["five", "go", "happy", "left", "stop", "wow"]
    assert sum(evaluation["per_class"][label]["clips"] for label in DEFAULT_LABELS) == 183
    assert metrics["best_val_acc"] >= 0.94
    assert evaluation["accuracy"] >= 0.88  # one seed on a few hundred clips: points below the usual
    assert metrics["data"]["splits"]["training"]["padded"] == 401
    assert metrics["data"]["splits"]["testing"]["silent"] == 4
    assert metrics["data"]["licence"] == CC_BY
