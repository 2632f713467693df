"""Model: `python -m model` in containers, by the commands that the Makefile runs natively."""

from dataclasses import dataclass

import dagger
from dagger import dag

from .containers import ARTIFACTS, Toolbox, mounted
from .settings import MOUNTED, OF_DATA, OF_TRAINING, options, recipe
from .steps import SIGNAL, ProgramError, plain

MODEL, CLIPS = f"{ARTIFACTS}/model", "/clips"


@dataclass(frozen=True)
class Model:
    """What a training left; where it failed, its log alone, and ``error`` says why, ``code`` how it ended."""

    folder: dagger.Directory
    error: str = ""
    code: int = 0

    def held(self) -> dagger.Directory:
        """The folder. Raises ProgramError where the training failed."""
        if self.error:
            raise ProgramError(self.error)
        return self.folder


def container(kws: Toolbox) -> dagger.Container:
    """The trainer: its dependencies and code, the caller's data, a cache for what was unpacked, spoken or computed."""
    stage = kws.stage("model", kws=kws.kws_source, model=kws.model_source)
    stage = stage.with_mounted_cache("/cache", dag.cache_volume("kws-data")).with_env_variable("KWS_CACHE", "/cache")
    return mounted(stage, {f"/data/{option}": source for option, source in _sources(kws).items()})


def _sources(kws: Toolbox) -> dict[str, dagger.File | dagger.Directory]:
    """What the caller brings, by the trainer's option; the trainer tells a mounted archive's format by its content."""
    named = {option: [getattr(kws, name) for name in names] for option, names in MOUNTED.items()}
    return {option: source for option, sources in named.items() for source in sources if source is not None}


def _command(kws: Toolbox, program: str, output: str, *more: str) -> list[str]:
    named = {"dataset": "synthetic" if kws.synthetic else "speech-commands"}
    named |= {option: f"/data/{option}" for option in _sources(kws)}
    of_data = {name: getattr(kws, name) for name in OF_DATA}
    return ["python", "-m", "model", program, f"--output={output}", *options(**named, **of_data), *more]


async def train(kws: Toolbox, *more: str) -> Model:
    """Train; a failure is a finding, too."""
    told = [*options(**{name: getattr(kws, name) for name in OF_TRAINING}), *recipe(kws.training or [], "training")]
    stage = await plain(container(kws).sync())
    # No input of the step: a commit alone trains nothing anew.
    stage = stage.with_volatile_variable("KWS_REVISION", kws.revision or await head(kws.git))
    try:
        folder = await stage.with_exec(_command(kws, "train", MODEL, *told, *more)).directory(MODEL).sync()
    except dagger.ExecError as error:
        # A step that fails leaves no files: its log is what it printed.
        said = f"{error.stdout}\n{error.stderr}".strip()
        if not said or error.exit_code > SIGNAL:
            said = f"{said}\nthe training ended with exit code {error.exit_code}".strip()
        log = dag.directory().with_new_file("train.log", f"{said}\n")
        return Model(log, said.splitlines()[-1], error.exit_code)
    return Model(folder)


def clips(kws: Toolbox) -> dagger.Directory:
    """Labelled recordings of the test split, a folder a label, for the test client."""
    return container(kws).with_exec(_command(kws, "clips", CLIPS)).directory(CLIPS)


async def head(git: dagger.Directory) -> str:
    """The commit that is checked out, of ``.git``'s HEAD and references; empty where they do not tell it."""

    async def read(name: str) -> str:
        return (await git.file(f".git/{name}").contents()).strip() if await git.exists(f".git/{name}") else ""

    found = await read("HEAD")
    if not found.startswith("ref: "):
        return found
    packed = {line.partition(" ")[2]: line.partition(" ")[0] for line in (await read("packed-refs")).splitlines()}
    return await read(found.removeprefix("ref: ")) or packed.get(found.removeprefix("ref: "), "")
