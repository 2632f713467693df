"""The whole way on real recordings, with the figures that the project promises of its quick profile."""

import os
from pathlib import Path

import pytest

from model.data.layout import SPLITS
from model.data.source import CC_BY
from model.data.split import official_split

from .conftest import ROOT, USUAL, Cli, done, opened, read


@pytest.mark.real_data
@pytest.mark.timeout(0)
def test_the_quick_profile_is_accurate(main: Cli, tmp_path: Path) -> None:
    path = Path(os.environ.get("KWS_TEST_DATASET", ROOT.parent / "shared/data/speech_commands_subset.tar.gz"))
    if not path.exists():
        pytest.skip(f"real data: {path} is not there; set KWS_TEST_DATASET")
    dataset = opened(path)
    assert (dataset.name, dataset.licence, dataset.notes) == ("Speech Commands v0.01, a subset", CC_BY, ())
    assert (dataset.split_rule, dataset.speakers_known) == ("lists of the data set", True)
    assert [clip.name for clip in dataset.clips if official_split(clip.name) != clip.split] == []
    assert [len(dataset.of_split(split, dataset.labels)) for split in SPLITS] == [3137, 443, 183]

    done(main("train", "--dataset", path, "--output", tmp_path / "model", "--profile", "quick"))
    metrics, evaluation = read(tmp_path / "model", "train_metrics.json", "evaluation.json")
    assert evaluation["labels"] == [*USUAL, "_unknown_", "_silence_"]
    assert sum(evaluation["per_class"][label]["clips"] for label in USUAL) == 183
    assert metrics["best_val_acc"] >= 0.92
    assert evaluation["accuracy"] >= 0.88  # one seed on a few hundred clips: points below the usual
    assert (metrics["read"]["training"]["padded"], metrics["read"]["testing"]["silent"]) == (433, 5)
