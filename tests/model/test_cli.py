"""The command line: options, artefacts, figures that agree, and one line about what cannot be done."""

import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model import provenance, run
from model.errors import UserError
from model.settings import PROFILES, Settings, make_settings

from .conftest import QUICK, done, encode, files_of, judge, main, one_line, read, tar, tone, tone_model, write_files


def test_a_run_leaves_every_artefact(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} == run.ARTEFACTS
    metrics, evaluation = read(trained, run.METRICS, run.EVALUATION)
    assert metrics["epochs"] == 4 == len(metrics["history"])
    assert metrics["last_val_acc"] == metrics["history"][-1]["val_acc"]
    assert metrics["best_val_loss"] == metrics["history"][metrics["best_epoch"] - 1]["val_loss"]
    assert metrics["training_time_sec"] > 0
    assert evaluation["labels"] == ["low", "high", "_unknown_", "_silence_"]
    assert evaluation["n"] == sum(map(sum, evaluation["confusion_matrix"]))
    assert evaluation["model_version"] == metrics["model_version"]
    lines = (trained / "train.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING) ", line) for line in lines)
    assert not trained.with_name("model.log").exists()


def test_an_archive_of_the_same_clips_gives_the_same_model(trained: Path, tones: Path, tmp_path: Path) -> None:
    archive = tar(tmp_path / "a", {str(each.relative_to(tones)): each.read_bytes() for each in tones.rglob("*.*")})
    told = {name: value for name, value in read(trained, "config.json")["settings"].items() if value}
    words = {name: ",".join(value) if isinstance(value, list) else str(value) for name, value in told.items()}
    environment = {f"KWS_{name.upper()}": value for name, value in words.items()} | {"KWS_DATASET": str(archive)}
    done(main("train", "--output", tmp_path / "again", **environment))
    one, again = (read(folder, run.METRICS) for folder in (trained, tmp_path / "again"))
    assert {**again["settings"], "dataset": ""} == {**one["settings"], "dataset": ""}
    assert [again[key] for key in ("history", "model_version")] == [one[key] for key in ("history", "model_version")]


def test_an_output_that_is_no_folder_or_not_ours_is_left_alone(trained: Path, tmp_path: Path) -> None:
    write_files(tmp_path, {"file": b"mine", "folder/thesis.txt": b"mine", "a": b"x"})
    refused = {"file": "is not a folder; give another --output", "folder": "holds other files, which would be lost"}
    for arguments in (("train",), ("clips",), ("evaluate", trained / "model.onnx")):
        for output, message in {**refused, "file/below": "is not writable ("}.items():
            assert message in one_line(main(*arguments, "--output", tmp_path / output))
    assert (tmp_path / "file").read_text() == (tmp_path / "folder/thesis.txt").read_text() == "mine"
    # What a failed run left, its log alone, is in nobody's way.
    write_files(tmp_path, {"failed/train.log": b"error"})
    again = main("train", "--dataset", tmp_path / "nowhere", "--output", tmp_path / "failed")
    assert f"'{tmp_path / 'nowhere'}' does not exist" in one_line(again)
    assert f"'{tmp_path / 'file'}" in one_line(main("check", tmp_path / "a", KWS_CACHE=str(tmp_path / "file")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *((option, option.split()[0]) for option in ("--epochs many", "--no-such-option")),
        ("--threads -1", "--threads -1 is out of range; give 0 to 1024"),
        ("--profile magic", "--profile 'magic' is unknown; choose one of quick, standard, best"),
        ("--labels low,middle", "label 'middle' has no clips in data set 'tones' (it has "),
        ("--dataset speech-commands --dataset-sha256 abc", "--dataset-sha256 'abc' is no SHA-256"),
        *((f"--{name} nowhere", f"--{name} 'nowhere' does not") for name in ("speech", "speech-evaluation")),
        ("--negatives empty", "--negatives 'empty' has no recordings that are read here; give"),
        ("--labels go,no --dataset few", "label 'go' has no clips in the training split of data set"),
        ("--dataset few_test_set", "is a test set: figures of a model that was trained on it say nothing"),
    ],
)
def test_what_cannot_be_trained(tones: Path, tmp_path: Path, monkeypatch: Any, options: str, message: str) -> None:
    monkeypatch.chdir(write_files(tmp_path, files_of(["few_test_set/low/1.wav", "few_test_set/high/1.wav"])))
    lists = {"validation_list": "go/1.wav", "testing_list": "go/2.wav\nno/1.wav"}
    write_files(tmp_path / "few", files_of(["go/1.wav", "go/2.wav", "no/1.wav"], **lists))
    write_files(tmp_path / "empty", {})
    assert message in one_line(main("train", *QUICK, "--dataset", tones, "--output", "out", *options.split()))
    assert not Path("out").exists()


def test_evaluate_finds_what_training_found(trained: Path, tones: Path, shared: Path, tmp_path: Path) -> None:
    """On the same clips, whatever share of other words it was trained on."""
    running = ("--speech", shared / "speech", "--negatives", shared / "rooms")
    found, again = read(trained, run.EVALUATION), judge(trained / "model.onnx", tones, tmp_path / "out", *running)
    assert again == {**found, "negatives": [{**each, "before": None} for each in found["negatives"]]}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"evaluation.json", "report.md", "plots"}


def test_a_checkpoint_that_is_not_the_model_s_is_refused(trained: Path, tones: Path, tmp_path: Path) -> None:
    model, path = shutil.copy(trained / "model.onnx", tmp_path), tmp_path / "best_model.pth"
    content = torch.load(trained / "best_model.pth", weights_only=True)
    weights, config, none = content["weights"], content["config"], "is none of this trainer"
    others: list[tuple[dict[str, Any], str]] = [
        ({"labels": content["labels"][:2]}, none),
        ({"config": {**config, "front_end": {**config["front_end"], "hop_length": 160}}}, "160 there, 256 here"),
        ({"weights": {**weights, "classifier.bias": weights["classifier.bias"] + 1e-6}}, "put its own there, or none"),
    ]
    path.write_bytes(b"no weights")
    for changed, message in [({}, none), *others]:
        if changed:
            torch.save({**content, **changed}, path)
        assert message in one_line(main("evaluate", model, "--dataset", tones, "--output", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_predict_tells_what_is_heard_and_what_cannot_be_read(tmp_path: Path) -> None:
    model = tone_model(tmp_path / "m.onnx", threshold="0.001")
    long = encode(np.stack([tone(500, 2.0, 44_100)] * 2, axis=1), 44_100, "FLAC")
    write_files(tmp_path, {"a": encode(tone(500, 0.2)), "b": long, "c": b"no sound", "e": b"\x1a\x45\xdf\xa3"})
    a, b, c, d, e = (tmp_path / name for name in "abcde")
    told = main("predict", a, c, b, e, "--model", model)
    refused = f"error: '{c}' cannot be heard: The file is no audio; '{e}' cannot be heard: The file is WebM or Matroska"
    assert one_line(told).startswith(refused)
    for file, line in zip((a, b), told.stdout.splitlines(), strict=True):
        assert line.startswith(f"{file}: low (low ")
    strict = done(main("predict", a, "--model", tone_model(tmp_path / "s.onnx", threshold="1.0")))
    assert strict.startswith(f"{a}: low, below the threshold of 1.00 (low ")
    assert "cannot be read or written (no such file" in one_line(main("predict", d, "--model", model))
    assert "does not exist; give" in one_line(main("predict", a, "--model", d))
    assert "cannot be used (" in one_line(main("predict", a, "--model", c))


def test_what_is_chosen_goes_before_the_profile_and_the_profile_before_the_default() -> None:
    assert make_settings({}) == Settings()
    quick = make_settings({"profile": "quick", "epochs": 3, "mixup": None, "labels": ("a", "b")})
    assert (quick.epochs, quick.mixup, quick.labels) == (3, PROFILES["quick"]["mixup"], ("a", "b"))
    for name, value in {"mixup": 0.0, "speech_share": 0.0, "labels": (), "licence": ""}.items():
        assert getattr(make_settings({name: value}), name) == value  # empty, and meant


@pytest.mark.parametrize("field", [each for each in fields(Settings) if each.metadata["low"] is not None])
def test_the_ends_of_every_number_are_allowed_and_no_more(field: Any) -> None:
    low, high = field.metadata["low"], field.metadata["high"]
    for value in (low, high):
        assert getattr(make_settings({field.name: value}), field.name) == value
    for value in (low - 1e-9 if low else -1, high * 1.001, float("nan"), "many"):
        with pytest.raises(UserError, match=f"--{field.name.replace('_', '-')} .* is out of range; give "):
            make_settings({field.name: value})


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    heavy = ("torch", "torchaudio", "onnx", "onnxruntime", "matplotlib", "scipy", "sklearn", "espeakng_loader")
    code = f"import sys, model.cli; print([name for name in {heavy} if name in sys.modules])"
    told = subprocess.check_output([sys.executable, "-c", code], cwd=Path(run.__file__).parents[1], text=True)
    assert told.strip() == "[]"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("trouble", ["", "another user's", "no git", "damaged", "vendored"])
def test_the_commit_or_one_line_with_the_remedy(tmp_path: Path, monkeypatch: Any, caplog: Any, trouble: str) -> None:
    """In a repository of one commit, in which the package seems to lie."""
    package = tmp_path / ("vendored/model" if trouble == "vendored" else "model")
    package.mkdir(parents=True)
    (package / "code.py").write_text("one")
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    for arguments in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -q -m one"):
        subprocess.run(["git", "-C", tmp_path, *arguments.split()], check=True)
    if trouble == "another user's":
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own tests do it so
    elif trouble == "no git":
        monkeypatch.setenv("PATH", "")
    elif trouble == "damaged":
        (tmp_path / ".git/HEAD").unlink()
    expected = ["", ""] if trouble else ["[0-9a-f]{40}", r"[0-9a-f]{40}\+dirty"]
    for changed, pattern in zip((tmp_path / "new.txt", package / "code.py"), expected, strict=True):
        changed.write_text("two")  # the first is not the source's
        provenance.revision.cache_clear()
        assert re.fullmatch(pattern, provenance.revision())
    remedy = f"`git config --global --add safe.directory {tmp_path}`"
    assert [remedy in line for line in caplog.messages] == [True] * 2 * (trouble not in ("", "vendored"))
    assert all(("dubious ownership" in line) == (trouble == "another user's") for line in caplog.messages)
