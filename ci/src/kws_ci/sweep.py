"""Several trainings side by side, compared by the validation split."""

import asyncio
import json
from typing import Annotated, Any

import dagger
from dagger import Doc, dag, field, object_type

from .containers import Toolbox
from .settings import recipe
from .steps import ProgramError, UserError, gather, span
from .train import train

METRICS = ("best_val_acc", "best_val_loss", "training_time_sec", "peak_memory_mb", "model_version")


@object_type
class Sweep:
    """A finished sweep: the table with every run, and the best model."""

    results: Annotated[dagger.Directory, Doc("sweep.md, sweep.json, a folder a run, and best/, the chosen")] = field()
    model: Annotated[dagger.File, Doc("model.onnx of the best, as --model of other functions takes it")] = field()


def trials(seeds: list[int], combinations: list[str]) -> dict[str, list[str]]:
    """Name and trainer options of each run: every seed with every combination of settings, apart by spaces."""
    found = {
        "_".join([*pairs, f"seed={seed}"]).replace("/", "-"): [*recipe(pairs, "settings", "profile"), f"--seed={seed}"]
        for pairs in ([combination.split() for combination in combinations] or [[]])
        for seed in seeds
    }
    if len(found) < 2:
        raise UserError("--seeds and --settings leave a single run: name two or more to compare (--seeds=0,1,2)")
    return found


async def run(kws: Toolbox, named: dict[str, list[str]], parallel: int) -> Sweep:
    """Train every run, at most ``parallel`` at a time. Raises ProgramError where none succeeded."""
    turns = asyncio.Semaphore(max(parallel, 1))

    async def one(name: str, options: list[str]) -> tuple[dict[str, Any], dagger.Directory]:
        async with turns:
            model = await span(f"train {name}", train(kws, *options))
        if model.error:
            return {"name": name, "error": model.error}, model.folder
        metrics = json.loads(await model.folder.file("train_metrics.json").contents())
        return {"name": name, **{key: metrics[key] for key in METRICS}, **metrics["test"]}, model.folder

    runs = await gather(*(one(name, options) for name, options in named.items()))
    ranked = rank([figures for figures, _ in runs])
    results = dag.directory().with_new_file("sweep.json", json.dumps({"runs": ranked}, indent=2) + "\n")
    columns = list(dict.fromkeys(column for each in ranked for column in each))
    rows = [columns, ["---"] * len(columns), *([str(each.get(name, "")) for name in columns] for each in ranked)]
    results = results.with_new_file("sweep.md", "".join(f"| {' | '.join(row)} |\n" for row in rows))
    folders = {figures["name"]: folder for figures, folder in runs}
    for name, folder in {**folders, "best": folders[ranked[0]["name"]]}.items():
        results = results.with_directory(name, folder)
    return Sweep(results=results, model=results.file("best/model.onnx"))  # type: ignore[call-arg]


def rank(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best first: highest validation accuracy, then lowest validation loss, then name; failed ones last."""
    done = [each for each in runs if "error" not in each]
    if not done:
        raise ProgramError("no run succeeded: " + "; ".join(f"{each['name']}: {each['error']}" for each in runs))
    done.sort(key=lambda each: (-each["best_val_acc"], each["best_val_loss"], each["name"]))
    return done + [each for each in runs if "error" in each]
