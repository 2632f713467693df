"""The whole way on real recordings, with the figures that the project promises of its quick profile."""

import json
from pathlib import Path

import pytest

from model.data.layout import SPLITS
from model.data.source import CC_BY
from model.data.split import official_split
from model.settings import DEFAULT_LABELS

from .conftest import Cli, done, opened


@pytest.mark.real_data
@pytest.mark.timeout(0)
def test_the_quick_profile_is_accurate(main: Cli, shared_subset: Path, tmp_path: Path) -> None:
    dataset = opened(shared_subset)
    assert (dataset.name, dataset.licence, dataset.notes) == ("Speech Commands v0.01, a subset", CC_BY, ())
    assert (dataset.split_rule, dataset.speakers_known) == ("lists of the data set", True)
    assert [clip.name for clip in dataset.clips if official_split(clip.name) != clip.split] == []
    assert [len(dataset.of_split(split, dataset.labels)) for split in SPLITS] == [3137, 443, 183]

    done(main("train", "--dataset", shared_subset, "--output", tmp_path / "model", "--profile", "quick"))
    metrics, evaluation = (
        json.loads((tmp_path / "model" / name).read_text()) for name in ("train_metrics.json", "evaluation.json")
    )
    assert evaluation["labels"] == [*DEFAULT_LABELS, "_unknown_", "_silence_"]
    assert evaluation["data"]["unseen_words"] == []
    assert sum(evaluation["per_class"][label]["clips"] for label in DEFAULT_LABELS) == 183
    assert metrics["best_val_acc"] >= 0.92
    assert evaluation["accuracy"] >= 0.88  # one seed on a few hundred clips: points below the usual
    assert metrics["read"]["training"]["padded"] == 433
    assert metrics["read"]["testing"]["silent"] == 5
