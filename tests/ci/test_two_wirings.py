"""What a container trains is what is trained natively: the commands of `ci/` and the native one, on one archive."""

import json
from pathlib import Path
from typing import Any

from tests.model.conftest import Cli, cache, main, tar_bytes, tone_files  # noqa: F401 - fixtures

from .graph import commands, marked
from .test_graph import module


def in_place(command: list[str], places: dict[str, Path]) -> list[str]:
    """A container's command with the container's places replaced by this test's."""
    return [str(places.get(part, part)) for part in command[3:]]


def test_a_container_trains_what_is_trained_natively(main: Cli, tmp_path: Path) -> None:  # noqa: F811
    archive = tmp_path / "words.tar.gz"
    archive.write_bytes(tar_bytes(tone_files(("low", "high", "other", "more"))))
    options = ["--labels", "low,high", "--profile", "quick", "--epochs", "1", "--stream-hours", "0"]

    trained = module().train(marked("archive").file("words.tar.gz"), labels=["low", "high"], profile="quick")
    places = {
        "/data/archive.tar.gz": archive,
        "/data/set": tmp_path / "set",
        "/artifacts/model": tmp_path / "container",
    }
    for command in commands(trained):
        if command[:3] == ["python", "-m", "model"]:
            extra = ["--epochs", "1", "--stream-hours", "0"] if command[3] == "train" else []
            result = main(*in_place(command, places), *extra)
            assert result.returncode == 0, result.stderr
    result = main("train", "--dataset", archive, "--output", tmp_path / "native", *options)
    assert result.returncode == 0, result.stderr

    def told(name: str) -> dict[str, Any]:
        evaluation = json.loads((tmp_path / name / "evaluation.json").read_text())
        metrics = json.loads((tmp_path / name / "train_metrics.json").read_text())
        return {
            "labels": evaluation["labels"],
            "n": evaluation["n"],
            "clips": metrics["data"]["clips"],
            "settings": metrics["settings"],
        }

    assert "_unknown_" in told("native")["labels"]
    assert told("container") == told("native")
