"""Training data-parallel, as ``torchrun`` starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from model.processes import CPU, Processes, joined

from .conftest import ROOT, tone_files, write_files


def test_every_process_gets_as_many_of_a_batch_and_all_are_in_it() -> None:
    for size in (1, 2, 5, 8):
        for count in (1, 2, 3):
            parts = [Processes(rank, count).share_of(torch.arange(size)) for rank in range(count)]
            assert len({len(part) for part in parts}) == 1
            assert set(torch.cat(parts).tolist()) == set(range(size))


def test_alone_there_is_nothing_to_join() -> None:
    with joined() as alone:
        assert (alone.rank, alone.count) == (0, 1)
        assert alone.sum([1.5, 2.0]) == [1.5, 2.0]
        assert alone.from_first({"a": 1}) == {"a": 1}
    if not torch.accelerator.is_available():
        assert alone.device == CPU


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    files = tone_files(("low", "high", "cat", "dog", "egg"))
    files["dataset.json"] = json.dumps({"name": "tones", "licence": "CC0 1.0", "attribution": "nobody"}).encode()
    root = write_files(tmp_path / "tones", files)
    arguments = [
        *("-m", "model", "train", "--labels", "low,high", "--dataset", str(root), "--profile", "quick"),
        *("--epochs", "12", "--batch-size", "16", "--ema-decay", "0.5", "--threads", "1", "--stream-hours", "0"),
    ]
    accuracy = {}
    for name, start in (
        ("one", [sys.executable]),
        ("two", [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]),
    ):
        result = subprocess.run(
            [*start, *arguments, "--output", str(tmp_path / name)],
            cwd=ROOT,
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("epoch  12/12") == 1  # the first process alone speaks
        metrics = json.loads((tmp_path / name / "train_metrics.json").read_text())
        accuracy[name] = metrics["best_val_acc"]
        assert len(metrics["history"]) == 12
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert config["processes"] == {"one": 1, "two": 2}[name]
    assert min(accuracy.values()) > 0.85
    assert abs(accuracy["one"] - accuracy["two"]) < 0.12
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"tones", "one", "two"}
