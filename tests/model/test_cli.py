"""The command line: artefacts, the log, and every error that a user can make as one line and exit code 2."""

import json
import re
from pathlib import Path

import pytest

from model import console, run

from .conftest import QUICK, Cli, done, one_line, tar_bytes, tone_files, write_files


def test_a_run_leaves_every_artefact(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} == run.ARTEFACTS
    metrics, evaluation = (json.loads((trained / name).read_text()) for name in (run.METRICS, run.EVALUATION))
    assert metrics["epochs"] == 4 == len(metrics["history"])
    assert set(metrics["history"][0]) == {"epoch", "train_loss", "train_acc", "val_loss", "val_acc"}
    assert metrics["last_val_acc"] == metrics["history"][-1]["val_acc"]
    assert metrics["best_val_loss"] == metrics["history"][metrics["best_epoch"] - 1]["val_loss"]
    assert metrics["training_time_sec"] > 0
    assert metrics["data"]["labels"] == evaluation["labels"] == ["low", "high", "_unknown_", "_silence_"]
    assert evaluation["n"] == sum(map(sum, evaluation["confusion_matrix"]))
    assert evaluation["model_version"] == metrics["model_version"]
    lines = (trained / "train.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING) ", line) for line in lines)
    assert sum("epoch   " in line for line in lines) == 4
    assert not trained.with_name("model.log").exists()


def test_a_run_is_repeated_from_its_config_and_an_archive(
    main: Cli, trained: Path, tones: Path, tmp_path: Path
) -> None:
    files = {str(path.relative_to(tones)): path.read_bytes() for path in tones.rglob("*") if path.is_file()}
    (tmp_path / "tones.tar.gz").write_bytes(tar_bytes(files))
    environment = {"KWS_DATASET": str(tmp_path / "tones.tar.gz"), "KWS_OUTPUT": str(tmp_path / "again")}
    done(main("train", "--config", trained / "config.json", **environment))
    one, again = (json.loads((folder / run.METRICS).read_text()) for folder in (trained, tmp_path / "again"))
    assert {**again["settings"], "dataset": ""} == {**one["settings"], "dataset": ""}
    for key in ("history", "model_version"):
        assert again[key] == one[key]
    assert again["data"]["digest"] == one["data"]["digest"]
    config = json.loads((trained / "config.json").read_text())
    (tmp_path / "other.json").write_text(json.dumps({**config, "data_digest": "0" * 64}))
    line = one_line(main("train", "--config", tmp_path / "other.json", "--output", tmp_path / "no"))
    assert f"has the digest {config['data_digest']}, but that of --config is {'0' * 64}" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "nowhere"), "data set 'nowhere' does not exist; give a folder"),
        (("--epochs", "0"), "--epochs 0 is out of range; give 1 to"),
        (("--epochs", "many"), "--epochs"),
        (("--learning-rate", "nan"), "--learning-rate nan is out of range"),
        (("--threads", "-1"), "--threads -1 is out of range"),
        (("--profile", "magic"), "--profile 'magic' is unknown; choose one of quick, standard"),
        (("--labels", "up,up"), "names a word twice"),
        (("--labels", "low,middle"), "label 'middle' has no clips in data set 'tones' (it has "),
        (("--unseen-words", "cow"), "--unseen-words: the data set has no other word 'cow' (it has cat, "),
        (("--dataset", "speech-commands", "--dataset-sha256", "abc"), "--dataset-sha256 'abc' is no SHA-256"),
        (("--no-such-option",), "--no-such-option"),
        (("surplus",), "surplus"),
    ],
)
def test_impossible_options(main: Cli, tones: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    line = one_line(main("train", *QUICK, "--dataset", tones, "--output", tmp_path / "out", *arguments))
    assert message in line
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_no_folder_or_not_ours_is_left_alone(main: Cli, trained: Path, tmp_path: Path) -> None:
    write_files(tmp_path, {"file": b"mine", "folder/thesis.txt": b"mine"})
    for arguments in (("train",), ("clips",), ("evaluate", trained / "model.onnx")):
        for output, message in (
            ("file", "is not a folder; give another --output"),
            ("folder", "holds other files, which would be lost"),
            ("file/below", "is not writable ("),
        ):
            assert message in one_line(main(*arguments, "--output", tmp_path / output))
    assert (tmp_path / "file").read_text() == (tmp_path / "folder/thesis.txt").read_text() == "mine"


def test_the_cache_s_place_is_named_where_it_cannot_be_used(main: Cli, tmp_path: Path) -> None:
    write_files(tmp_path, {"a.tar.gz": tar_bytes(tone_files(speakers=2)), "file": b"mine"})
    result = main("check", tmp_path / "a.tar.gz", "--labels", "low,high", KWS_CACHE=str(tmp_path / "file"))
    assert f"'{tmp_path / 'file'}" in one_line(result)


def test_help_shows_the_variables_and_comes_by_itself(main: Cli) -> None:
    text = done(main("train", "--help", COLUMNS="200", TERM="dumb"))
    for variable in ("KWS_DATASET", "KWS_OUTPUT", "KWS_EPOCHS", "KWS_SEED", "KWS_LABELS", "KWS_CONFIG", "KWS_RESUME"):
        assert variable in text
    result = main()
    assert (result.returncode, "Usage" in result.stdout + result.stderr) == (2, True)


def test_a_bar_is_a_line_at_each_fourth_of_each_total(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "model"), console.bar("reading (clips)") as show:
        for done_, total in [*((done_, 100) for done_ in range(1, 101)), (5, 10), (10, 10)]:
            show(done_, total)
    expected = [(1, 100), (25, 100), (50, 100), (75, 100), (100, 100), (5, 10), (10, 10)]
    assert caplog.messages == [f"reading (clips): {done_} of {total}" for done_, total in expected]
