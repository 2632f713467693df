"""The command line: artefacts, and every error that a user can make as one line and exit code 2."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from model.data.layout import scan

from .conftest import Cli, command, one_line, tar_bytes, tone_files, write_files

TONES = ("--labels", "low,high")


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    return write_files(tmp_path / "tones", tone_files())


def test_a_run_leaves_every_artefact(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} == {
        *("best_model.pth", "model.onnx", "train.log", "train_metrics.json", "config.json", "evaluation.json"),
        *("report.md", "model_card.md", "plots"),
    }
    metrics = json.loads((trained / "train_metrics.json").read_text())
    assert metrics["epochs"] == 4 == len(metrics["history"])
    assert set(metrics["history"][0]) == {"epoch", "train_loss", "train_acc", "val_loss", "val_acc"}
    assert metrics["last_val_acc"] == metrics["history"][-1]["val_acc"]
    assert metrics["best_val_loss"] == metrics["history"][metrics["best_epoch"] - 1]["val_loss"]
    assert metrics["training_time_sec"] > 0
    assert {name: audit["read"] for name, audit in metrics["data"]["splits"].items()} == {
        "training": 128,
        "validation": 16,
        "testing": 16,
    }
    evaluation = json.loads((trained / "evaluation.json").read_text())
    assert evaluation["n"] == 16 + 4 == sum(map(sum, evaluation["confusion_matrix"]))  # with _silence_
    assert evaluation["model_version"] == metrics["model_version"]
    report = (trained / "report.md").read_text()
    for picture in re.findall(r"\((plots/.*?)\)", report):
        assert (trained / picture).read_text().startswith("<?xml")
    assert f"{100 * evaluation['accuracy']:.1f} %" in report


def test_the_log_has_what_was_printed_with_times(trained: Path) -> None:
    lines = (trained / "train.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING) ", line) for line in lines)
    assert sum("epoch   " in line for line in lines) == 4
    assert any("training: 128 read, 0 padded, 0 cut" in line for line in lines)
    assert any("test accuracy" in line for line in lines)


def test_same_seed_same_artefacts_from_environment_and_archive(
    main: Cli, trained: Path, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {str(p.relative_to(spoken)): p.read_bytes() for p in spoken.rglob("*") if p.is_file()}
    (tmp_path / "spoken.tar.gz").write_bytes(tar_bytes(files))
    monkeypatch.setenv("KWS_DATASET", str(tmp_path / "spoken.tar.gz"))
    monkeypatch.setenv("KWS_OUTPUT", str(tmp_path / "again"))
    monkeypatch.setenv("KWS_PROFILE", "quick")
    monkeypatch.setenv("KWS_EPOCHS", "4")
    monkeypatch.setenv("KWS_STREAM_HOURS", "0.02")
    monkeypatch.setenv("KWS_CACHE", str(tmp_path / "cache"))
    result = main("train")
    assert result.returncode == 0, result.stderr
    one, again = (json.loads((path / "train_metrics.json").read_text()) for path in (trained, tmp_path / "again"))
    for key in ("history", "model_version", "settings"):
        assert one[key] == again[key]
    assert one["data"]["digest"] == again["data"]["digest"]
    evaluations = [(path / "evaluation.json").read_bytes() for path in (trained, tmp_path / "again")]
    assert evaluations[0] == evaluations[1]


def test_broken_clips_are_reported_everywhere(main: Cli, tones: Path, tmp_path: Path) -> None:
    name = scan(tones, ("low",)).of_split("training")[0].name
    (tones / name).write_bytes(b"no sound")
    result = main(
        *("train", *TONES, "--dataset", tones, "--output", tmp_path / "out"),
        *("--profile", "quick", "--epochs", "1", "--stream-hours", "0"),
    )
    assert result.returncode == 0, result.stderr
    assert f"broken, left out: {name}" in result.stdout
    assert name in (tmp_path / "out/train.log").read_text()
    assert name in (tmp_path / "out/report.md").read_text()
    metrics = json.loads((tmp_path / "out/train_metrics.json").read_text())
    assert list(metrics["data"]["splits"]["training"]["broken_clips"]) == [name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "nowhere"), "data set 'nowhere' does not exist; give a folder"),
        (("--epochs", "0"), "--epochs 0 is out of range; give 1 to"),
        (("--epochs", "many"), "--epochs"),
        (("--batch-size", "1"), "--batch-size 1 is out of range"),
        (("--learning-rate", "-1"), "--learning-rate -1.0 is out of range"),
        (("--learning-rate", "nan"), "--learning-rate nan is out of range"),
        (("--dropout", "1"), "--dropout 1.0 is out of range"),
        (("--threads", "0"), "--threads 0 is out of range"),
        (("--seed", "-1"), "--seed -1 is out of range"),
        (("--profile", "magic"), "--profile 'magic' is unknown; choose one of quick, standard"),
        (("--labels", "up"), "names fewer than two words"),
        (("--labels", "up,up"), "names a word twice"),
        (("--labels", "up,../down"), "'../down' cannot be the name of a word's folder"),
        (("--dataset", "speech-commands", "--dataset-sha256", "abc"), "--dataset-sha256 'abc' is no SHA-256"),
        (("--dataset", "speech-commands", "--dataset-url", "file:///x"), "is not an http(s) address"),
        (("--dataset", "synthetic", "--synthetic-size", "1"), "--synthetic-size 1 is too few"),
        (("--no-such-option",), "--no-such-option"),
    ],
)
def test_impossible_options(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    line = one_line(cli("train", "--output", tmp_path / "out", *arguments))
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_an_impossible_value_in_the_environment_names_the_variable(cli: Cli, tmp_path: Path) -> None:
    assert "KWS_EPOCHS" in one_line(cli("train", "--output", tmp_path / "out", KWS_EPOCHS="many"))


def test_a_label_without_clips(cli: Cli, tones: Path, tmp_path: Path) -> None:
    line = one_line(cli("train", "--labels", "low,middle", "--dataset", tones, "--output", tmp_path / "out"))
    assert "label 'middle' has no clips in data set 'tones' (it has high, low)" in line


def test_a_label_without_test_clips(cli: Cli, tones: Path, tmp_path: Path) -> None:
    for clip in scan(tones, ("low",)).of_split("testing"):
        (tones / clip.name).unlink()
    for name in ("train", "clips"):
        line = one_line(cli(name, *TONES, "--dataset", tones, "--output", tmp_path / "out"))
        assert "label 'low' has no clips in the testing split" in line


def test_a_corrupt_archive(cli: Cli, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar_bytes(tone_files())[:-1000])
    line = one_line(cli("data", *TONES, "--dataset", archive, "--output", tmp_path / "out"))
    assert "is corrupt or no .tar.gz" in line
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_no_folder_or_not_ours_is_left_alone(cli: Cli, tones: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/thesis.txt").write_text("mine")
    for name in ("train", "data", "clips"):
        line = one_line(cli(name, *TONES, "--dataset", tones, "--output", tmp_path / "file"))
        assert "is not a folder; give another --output" in line
        line = one_line(cli(name, *TONES, "--dataset", tones, "--output", tmp_path / "folder"))
        assert "holds other files, which would be lost" in line
    assert (tmp_path / "file").read_text() == (tmp_path / "folder/thesis.txt").read_text() == "mine"
    line = one_line(cli("data", *TONES, "--dataset", tones, "--output", tmp_path / "file/below"))
    assert "is not writable (" in line


def test_a_cache_that_cannot_be_used(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(tar_bytes(tone_files(speakers=2)))
    (tmp_path / "file").write_text("mine")
    arguments = ("data", *TONES, "--dataset", tmp_path / "a.tar.gz", "--output", tmp_path / "out")
    assert f"'{tmp_path / 'file'}" in one_line(cli(*arguments, KWS_CACHE=str(tmp_path / "file")))


def test_a_full_disk(tones: Path, tmp_path: Path) -> None:
    """On a real file system of 64 kB, where the kernel lets us mount one."""
    (tmp_path / "small").mkdir()
    mount = f"mount -t tmpfs -o size=64k none '{tmp_path / 'small'}'"
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*inside, mount], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces here: cannot make a small disk")
    arguments = command("data", *TONES, "--dataset", tones, "--output", tmp_path / "small/out")
    script = f'{mount} && "$@"; code=$?; ls -A "{tmp_path / "small"}"; exit $code'
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [*inside, script, "sh", *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=60
    )
    assert "no space left" in one_line(result)
    assert result.stdout == ""  # `ls` finds nothing half-written


def test_data_writes_a_folder_that_trains_as_the_original(cli: Cli, tmp_path: Path) -> None:
    files = tone_files(("low", "high", "other"))
    (tmp_path / "a.tar.gz").write_bytes(tar_bytes(files))
    arguments = ("data", *TONES, "--dataset", tmp_path / "a.tar.gz", "--output", tmp_path / "out")
    for more, words in (((), ("low", "high")), (("--other-words", "all"), ("low", "high", "other"))):
        result = cli(*arguments, *more)  # the second time over the first's output
        assert result.returncode == 0, result.stderr
        names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.wav")}
        assert names == {name for name in files if name.startswith(("_back", *words))}
    copied, original = (
        scan(tmp_path / "out", ("low", "high")),
        scan(write_files(tmp_path / "in", files), ("low", "high")),
    )
    assert copied.clips == original.clips
    assert (copied.split_rule, original.split_rule[:5]) == ("lists of the data set", "SHA-1")


def test_clips_are_test_clips_and_the_same_each_time(cli: Cli, tones: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        result = cli("clips", *TONES, "--dataset", tones, "--output", tmp_path / name, "--per-label", "2")
        assert result.returncode == 0, result.stderr
    one, two = (
        {str(p.relative_to(tmp_path / n)): p.read_bytes() for p in (tmp_path / n).rglob("*.wav")}
        for n in ("one", "two")
    )
    assert one == two
    assert sorted(Path(name).parts[0] for name in one) == ["high", "high", "low", "low"]
    assert set(one) <= {clip.name for clip in scan(tones, ("low", "high")).of_split("testing")}
    listed = json.loads((tmp_path / "one/clips.json").read_text())["clips"]
    assert {clip["file"]: clip["sha256"] for clip in listed} == {
        name: hashlib.sha256(data).hexdigest() for name, data in one.items()
    }


def test_help_is_quick_and_shows_the_variables(cli: Cli) -> None:
    text = cli("train", "--help", COLUMNS="200", TERM="dumb").stdout
    for variable in ("KWS_DATASET", "KWS_OUTPUT", "KWS_EPOCHS", "KWS_SEED", "KWS_BATCH_SIZE", "KWS_LEARNING_RATE"):
        assert variable in text


def test_no_command_shows_the_help(cli: Cli) -> None:
    result = cli()
    assert result.returncode == 2
    assert "Usage" in result.stdout + result.stderr
