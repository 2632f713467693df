"""Several trainings side by side, compared by the validation split."""

import itertools
import re
from typing import Annotated

import anyio
import dagger
from dagger import Doc, ReturnType, dag, field, object_type

from . import stages
from .concurrency import together
from .environment import Environment
from .errors import ProgramError, UserError
from .trace import span

_SETTING = re.compile(r"[a-z][a-z-]*=\S+")


@object_type
class Sweep:
    """A finished sweep: the table with every run, and the image around the best."""

    results: Annotated[dagger.Directory, Doc("sweep.md, sweep.json, a folder a run, and best/: the one chosen")] = (
        field()
    )
    image: Annotated[dagger.Container, Doc("The inference image around the best model")] = field()


def trials(seeds: list[int], settings: list[str]) -> dict[str, list[str]]:
    """Name and trainer options of each run: every seed with every combination of settings.

    A combination is ``NAME=VALUE`` pairs of trainer options apart by spaces: ``learning-rate=0.01 dropout=0.2``.
    Raises UserError on one that is not, and where there is nothing to compare.
    """
    combinations = [combination.split() for combination in settings] or [[]]
    for pair in itertools.chain(*combinations):
        if not _SETTING.fullmatch(pair):
            raise UserError(f"--settings: {pair!r} is not NAME=VALUE, such as learning-rate=0.01")
    if wrong := [seed for seed in seeds if seed < 0]:
        raise UserError(f"--seeds: {wrong[0]} is out of range: give 0 or more")
    found = {
        "_".join([*pairs, f"seed={seed}"]).replace("/", "-"): [*(f"--{pair}" for pair in pairs), f"--seed={seed}"]
        for pairs in combinations
        for seed in seeds
    }
    if len(found) < 2:
        raise UserError("--seeds and --settings leave a single run: name two or more to compare (--seeds=0,1,2)")
    return found


async def run(
    trainer: dagger.Container, data: dagger.Directory, options: list[str], named: dict[str, list[str]], parallel: int
) -> dagger.Directory:
    """A folder a run, at most ``parallel`` at a time; of one that failed its words in ``error.txt``."""
    if parallel < 1:
        raise UserError(f"--parallel {parallel}: at least one run at a time")
    limiter = anyio.CapacityLimiter(parallel)
    folders: dict[str, dagger.Directory] = {}

    async def one(name: str, more: list[str]) -> None:
        async with limiter:
            trained = stages.training(trainer, data, [*options, *more], ReturnType.ANY)
            if await span(f"train {name}", trained.exit_code()) == 0:
                folders[name] = trained.directory(stages.MODEL)
            else:
                folders[name] = dag.directory().with_new_file("error.txt", await trained.stderr())

    await together(*(one(name, more) for name, more in named.items()))
    gathered = dag.directory()
    for name in named:
        gathered = gathered.with_directory(name, folders[name])
    return gathered


async def compare(
    environment: Environment, model_source: dagger.Directory, tools: dagger.Directory, runs: dagger.Directory
) -> dagger.Directory:
    """The runs with their table, and the best once more as ``best``. Raises ProgramError where none succeeded."""
    compared = (
        stages.reporter(environment, model_source, tools)
        .with_directory("/sweep", runs)
        .with_exec(["python", "-m", "tools.sweep", "/sweep"], expect=ReturnType.ANY)
    )
    if await compared.exit_code() != 0:
        raise ProgramError((await compared.stderr()).strip())
    best = (await compared.stdout()).strip()
    results = compared.directory("/sweep")
    return results.with_directory("best", results.directory(best))
