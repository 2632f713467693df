"""Several trainings side by side, compared by the validation split."""

import json
from typing import Annotated, Any

import anyio
import dagger
from dagger import Doc, dag, field, object_type

from .steps import ProgramError, UserError, gather, span
from .train import Trainer, settings


@object_type
class Sweep:
    """A finished sweep: the table with every run, and the best model."""

    results: Annotated[dagger.Directory, Doc("sweep.md, sweep.json, a folder a run, and best/: the one chosen")] = (
        field()
    )
    model: Annotated[dagger.File, Doc("model.onnx of the best, as --model of other functions takes it")] = field()


def trials(seeds: list[int], combinations: list[str]) -> dict[str, list[str]]:
    """Name and trainer options of each run: every seed with every combination of settings.

    A combination is ``NAME=VALUE`` pairs of trainer options apart by spaces: ``learning-rate=0.01 dropout=0.2``.
    Raises UserError on one that is not, and where there is nothing to compare.
    """
    if wrong := [seed for seed in seeds if seed < 0]:
        raise UserError(f"--seeds: {wrong[0]} is out of range: give 0 or more")
    found = {
        "_".join([*pairs, f"seed={seed}"]).replace("/", "-"): [*settings(pairs, "settings"), f"--seed={seed}"]
        for pairs in ([combination.split() for combination in combinations] or [[]])
        for seed in seeds
    }
    if len(found) < 2:
        raise UserError("--seeds and --settings leave a single run: name two or more to compare (--seeds=0,1,2)")
    return found


async def run(trainer: Trainer, named: dict[str, list[str]], parallel: int) -> Sweep:
    """Train every run, at most ``parallel`` at a time. Raises ProgramError where none succeeded."""
    if parallel < 1:
        raise UserError(f"--parallel {parallel}: at least one run at a time")
    limiter = anyio.CapacityLimiter(parallel)

    async def one(name: str, options: list[str]) -> tuple[dict[str, Any], dagger.Directory]:
        async with limiter:
            try:
                model = await span(f"train {name}", trainer.trained(*options))
            except ProgramError as error:
                return {"name": name, "error": str(error)}, dag.directory()
            folder = model.folder or dag.directory()
            return {"name": name, "error": model.error} if model.error else await _figures(name, folder), folder

    runs = await gather(*(one(name, options) for name, options in named.items()))
    ranked = rank([figures for figures, _ in runs])
    results = dag.directory().with_new_file("sweep.json", json.dumps({"runs": ranked}, indent=2) + "\n")
    results = results.with_new_file("sweep.md", table(ranked))
    folders = {figures["name"]: folder for figures, folder in runs}
    for name, folder in {**folders, "best": folders[ranked[0]["name"]]}.items():
        results = results.with_directory(name, folder)
    return Sweep(results=results, model=results.file("best/model.onnx"))  # type: ignore[call-arg]


async def _figures(name: str, folder: dagger.Directory) -> dict[str, Any]:
    metrics = json.loads(await folder.file("train_metrics.json").contents())
    evaluation = json.loads(await folder.file("evaluation.json").contents())
    found = {name: metrics[name] for name in ("best_val_acc", "best_val_loss", "training_time_sec", "model_version")}
    return {"name": name, **found, "test_accuracy": evaluation["accuracy"]}


def rank(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best first: highest validation accuracy, then lowest validation loss, then name; failed ones last."""
    done = [each for each in runs if "error" not in each]
    if not done:
        raise ProgramError("no run succeeded: " + "; ".join(f"{each['name']}: {each['error']}" for each in runs))
    done.sort(key=lambda each: (-each["best_val_acc"], each["best_val_loss"], each["name"]))
    return done + [each for each in runs if "error" in each]


def table(runs: list[dict[str, Any]]) -> str:
    """The runs as Markdown; the validation split has chosen the first, the test split is told beside it."""
    form = "| {name} | {best_val_acc:.1%} | {best_val_loss:.4f} | {test_accuracy:.1%} | {training_time_sec:.0f} |"
    failed = "| {name} | failed: {error} | | | |"
    head = ["| run | validation | its loss | test | seconds |", "| --- | ---: | ---: | ---: | ---: |"]
    return "\n".join([*head, *((failed if "error" in each else form).format(**each) for each in runs)]) + "\n"
