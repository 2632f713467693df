"""`python -m tools.bench_model DATASET [--output FILE]`: every profile with several seeds, one table of medians.

Each run is the command that a user gives, in a process of its own, one after the other. Latency is the exported
file's on one thread, a clip at a time. To be run on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.features import FRAMES, N_MELS
from model.inference import open_model
from model.network import TCResNet8
from model.settings import CLIP_SAMPLES, PROFILES

Figures = dict[str, float]

# key in the figures: (heading, format)
_COLUMNS = {
    "seconds": ("training, s", "{:.1f}"),
    "clips_per_second": ("clips/s", "{:.0f}"),
    "network_share": ("the network's share", "{:.0%}"),
    "peak_mb": ("peak memory, MB", "{:.0f}"),
    "parameters": ("parameters", "{:,.0f}"),
    "macs": ("MACs of the network", "{:,.0f}"),
    "file_mb": ("file, MB", "{:.2f}"),
    "latency_ms": ("a clip, ms", "{:.3f}"),
    "validation": ("validation", "{:.2%}"),
    "test": ("test, all classes", "{:.2%}"),
    "keywords": ("test, keywords", "{:.2%}"),
    "wrong": ("keyword clips wrong", "{:.0f}"),
    "recall": ("recall at the threshold", "{:.1%}"),
    "unseen": ("unseen words accepted", "{:.1%}"),
    "noise": ("noise accepted", "{:.1%}"),
    "ece": ("calibration error", "{:.3f}"),
    "misses": ("misses at 0.5 false accepts/h", "{:.0%}"),
    "goals": ("goals met", "{:.0f}"),
}


@dataclass(frozen=True)
class Run:
    """One training: its figures, and the goals that its evaluation judged."""

    figures: Figures
    goals: list[dict[str, Any]]


def run(dataset: str, profile: str, seed: int, folder: Path) -> Run:
    """Train once into ``folder``."""
    command = [sys.executable, "-m", "model", "train", "--dataset", dataset, "--profile", profile, "--seed", str(seed)]
    process = subprocess.Popen([*command, "--output", str(folder)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command[1:])} ended with {process.returncode}; its messages are above")
    metrics, evaluation = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("train_metrics", "evaluation")
    )
    figures = {
        "seconds": metrics["training_time_sec"],
        "clips_per_second": metrics["samples_per_sec"],
        "network_share": metrics["time_shares"]["network"],
        "peak_mb": usage.ru_maxrss / 1024,
        "parameters": metrics["parameters"],
        "macs": macs(len(evaluation["labels"]), metrics["settings"]["width"]),
        "file_mb": metrics["onnx"]["size_bytes"] / 1e6,
        "latency_ms": latency(folder / "model.onnx"),
        "validation": metrics["best_val_acc"],
        "test": evaluation["accuracy"],
        **_judged(evaluation),
    }
    return Run(figures, evaluation["goals"])


def _judged(evaluation: dict[str, Any]) -> Figures:
    """What only a model with ``_unknown_`` and ``_silence_``, or a long enough evaluation, has is not a number else."""
    operating, missing = evaluation.get("operating") or {}, {"share": float("nan")}
    accepted = operating.get("false_accepts", {})
    points = (evaluation.get("streaming") or {}).get("operating_points", [])
    return {
        "keywords": evaluation["keyword_accuracy"],
        "wrong": round((1 - evaluation["keyword_accuracy"]) * evaluation["keyword_clips"]),
        "recall": operating.get("recall", missing)["share"],
        "unseen": accepted.get("unseen words", missing)["share"],
        "noise": accepted.get("noise and near-silence", missing)["share"],
        "ece": evaluation["calibration"]["ece"],
        "misses": next((p["misses"] for p in points if p["allowed_per_hour"] == 0.5), float("nan")),
        "goals": sum(goal["passed"] for goal in evaluation["goals"]),
    }


def macs(classes: int, width: float) -> int:
    """Multiply-accumulates of the network's convolutions and linear layer for one clip; the features are not in it."""
    counts = []

    def count(layer: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        weights = layer.weight.numel()  # type: ignore[operator]
        counts.append(weights * (output.shape[2] if output.dim() == 3 else 1))

    network = TCResNet8(classes, width=width).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv1d | torch.nn.Linear):
            layer.register_forward_hook(count)
    network(torch.zeros(1, N_MELS, FRAMES))
    return sum(counts)


def latency(path: Path, runs: int = 2000) -> float:
    """Median milliseconds of one clip on one thread, features included."""
    session = open_model(path, threads=1).session
    clip = np.random.default_rng(0).uniform(-0.1, 0.1, (1, CLIP_SAMPLES)).astype(np.float32)
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        session.run(None, {"waveform": clip})
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def tables(results: dict[str, list[Run]]) -> str:
    """Figures and goals: medians over the seeds."""
    return f"{figures_table(results)}\n{goals_table(results)}"


def _head(results: dict[str, list[Run]]) -> list[str]:
    return [f"| | {' | '.join(f'`{profile}`' for profile in results)} |", "| --- |" + " ---: |" * len(results)]


def figures_table(results: dict[str, list[Run]]) -> str:
    """Medians over the seeds, the lowest and the highest in brackets where they differ."""
    lines = _head(results)
    for key, (heading, form) in _COLUMNS.items():
        cells = []
        for runs in results.values():
            values = [run.figures[key] for run in runs]
            low, middle, high = (form.format(f(values)) for f in (min, statistics.median, max))
            cells.append(middle if low == high else f"{middle} ({low} to {high})")
        lines.append(f"| {heading} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def goals_table(results: dict[str, list[Run]]) -> str:
    """The median of each goal's value, and in how many runs it was met: its bound may hang on the run's accuracy."""
    lines = _head(results)
    for name in dict.fromkeys(goal["name"] for runs in results.values() for run in runs for goal in run.goals):
        cells = []
        for runs in results.values():
            judged = [goal for run in runs for goal in run.goals if goal["name"] == name]
            values = sorted((goal["value"] for goal in judged), key=lambda value: float(value.split()[0]))
            met = sum(goal["passed"] for goal in judged)
            cells.append(f"{values[len(values) // 2]}, {met} of {len(judged)}" if judged else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, measure, print the table and write it, with every run's figures beside it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--output", type=Path, default=Path("artifacts/bench/model.md"))
    parser.add_argument("--profiles", default=",".join(PROFILES))
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    if wrong := set(options.profiles.split(",")) - set(PROFILES):
        parser.error(f"--profiles: {', '.join(sorted(wrong))} is none of {', '.join(PROFILES)}")
    results: dict[str, list[Run]] = {}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for profile in options.profiles.split(","):
        for seed in options.seeds.split(","):
            with tempfile.TemporaryDirectory() as folder:
                done = run(options.dataset, profile, int(seed), Path(folder) / "model")
            results.setdefault(profile, []).append(done)
            print(f"{profile}, seed {seed}: " + ", ".join(f"{k} {v:.4g}" for k, v in done.figures.items()), flush=True)
            options.output.write_text(tables(results))
            options.output.with_suffix(".json").write_text(json.dumps(results, default=asdict, indent=2))
    print(tables(results))


if __name__ == "__main__":
    main()
