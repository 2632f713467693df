"""Model: `python -m model` in containers, by the commands that the Makefile runs natively."""

import re
from dataclasses import dataclass

import dagger
from dagger import dag

from .containers import ARTIFACTS, Toolbox
from .settings import Settings
from .steps import ProgramError, UserError, plain

MODEL, CLIPS = f"{ARTIFACTS}/model", "/clips"
QUICK = "quick"  # the profile of a toy
BAD_INPUT, SIGNAL = 2, 128  # exit codes: what was given cannot be meant; above, it was killed and could not say so
# The constructor's arguments that are options of the trainer: of every command over a data set, and of a training.
OF_DATA = ["labels", "only_keywords", "unseen_words", "speaker_pattern", "licence", "attribution"]
OF_DATA += ["dataset_url", "dataset_sha256", "synthetic_size", "synthetic_seed"]
OF_TRAINING = ["profile", "seed"]


def options(**values: str | float | list[str] | None) -> list[str]:
    """Command-line options of those values that are given; lists are joined by commas, true stands alone."""
    given = {name: value for name, value in values.items() if value is not None and value is not False}
    named = {f"--{name.replace('_', '-')}": value for name, value in given.items() if value not in ("", [])}
    joined = {name: ",".join(value) if isinstance(value, list) else value for name, value in named.items()}
    return [name if value is True else f"{name}={value}" for name, value in joined.items()]


def settings(pairs: list[str], argument: str) -> list[str]:
    """The trainer's options of NAME=VALUE pairs. Raises UserError, which names the argument, on what is none."""
    for pair in pairs:
        if not (found := re.fullmatch(r"([a-z][a-z0-9-]*)=.+", pair)):
            raise UserError(f"--{argument}: {pair!r} is not NAME=VALUE, such as learning-rate=0.01")
        if found[1].replace("-", "_") in (*OF_DATA, *OF_TRAINING):
            raise UserError(f"--{argument}: {pair!r} has an option of its own, --{found[1]}")
    return [f"--{pair}" for pair in pairs]


async def head(git: dagger.Directory) -> str:
    """The commit that is checked out, of ``.git``'s HEAD and references; empty where they do not tell it."""

    async def read(name: str) -> str:
        return (await git.file(f".git/{name}").contents()).strip() if await git.exists(f".git/{name}") else ""

    commit, reference, name = (await read("HEAD")).rpartition("ref: ")
    if not reference:
        return commit or name
    packed = (line.partition(" ") for line in (await read("packed-refs")).splitlines())
    return await read(name) or next((commit for commit, _, packed_name in packed if packed_name == name), "")


@dataclass(frozen=True)
class Model:
    """What a training left: ``onnx`` is None, and ``error`` says why, where it failed; then ``folder`` has its log."""

    folder: dagger.Directory
    onnx: dagger.File | None = None
    error: str = ""


class Trainer:
    """Runs ``python -m model`` over the data set that the constructor names.

    Raises:
        UserError: more than one data set, or settings that are none.
    """

    def __init__(self, kws: Settings) -> None:
        self.kws = kws
        named = {"--dataset": kws.dataset, "--dataset-folder": kws.dataset_folder, "--synthetic": kws.synthetic or None}
        if len(given := [name for name, value in named.items() if value is not None]) > 1:
            raise UserError(f"{' and '.join(given)} exclude each other: give one")
        self.of_data = options(**{name: getattr(kws, name) for name in OF_DATA})
        self.of_training = options(**{name: getattr(kws, name) for name in OF_TRAINING})
        self.of_training += settings(kws.training or [], "training")

    @property
    def dataset(self) -> str:
        """As the trainer is told it; what a mounted archive is, it sees by the content."""
        mounted = (self.kws.dataset and "/data/archive") or (self.kws.dataset_folder and "/data/set")
        return mounted or ("synthetic" if self.kws.synthetic else "speech-commands")

    def container(self) -> dagger.Container:
        """Its dependencies, its code, the data set, and a cache for what was unpacked, spoken or computed."""
        container = Toolbox(self.kws).stage("model", model=self.kws.model_source)
        container = container.with_mounted_cache("/cache", dag.cache_volume("kws-data"))
        container = container.with_env_variable("KWS_CACHE", "/cache")
        if self.kws.dataset is not None:
            return container.with_mounted_file(self.dataset, self.kws.dataset)
        if self.kws.dataset_folder is not None:
            return container.with_mounted_directory(self.dataset, self.kws.dataset_folder)
        return container

    def command(self, program: str, output: str, *more: str) -> list[str]:
        """The command line of a program over the data set."""
        named = ["python", "-m", "model", program, "--dataset", self.dataset, "--output", output]
        return [*named, *self.of_data, *more]

    async def trained(self, *more: str) -> Model:
        """The model of a training; of one that failed, its log as ``train.log``.

        A step that fails is kept by no cache and leaves no files: the log is what the trainer printed. Raises
        ProgramError with the trainer's last line where its input is at fault. The revision is no input of the step:
        a commit alone trains nothing anew.
        """
        container = await plain(self.container().sync())
        revision = self.kws.revision or await head(self.kws.git)
        run = container.with_volatile_variable("KWS_REVISION", revision).with_exec(
            self.command("train", MODEL, *self.of_training, *more)
        )
        try:
            folder = await run.directory(MODEL).sync()
        except dagger.ExecError as error:
            said = f"{error.stdout}\n{error.stderr}".strip()
            if not said or error.exit_code > SIGNAL:
                said = f"{said}\nthe training ended with exit code {error.exit_code}".strip()
            last = said.splitlines()[-1]
            if error.exit_code == BAD_INPUT:
                raise ProgramError(last) from None
            return Model(dag.directory().with_new_file("train.log", f"{said}\n"), None, last)
        return Model(folder, folder.file("model.onnx"))

    async def onnx(self, given: dagger.File | None) -> dagger.File:
        """The model file that was handed in, or a trained one. Raises ProgramError where the training failed."""
        if given is not None:
            return given
        model = await self.trained()
        if model.onnx is None:
            raise ProgramError(model.error)
        return model.onnx

    def clips(self) -> dagger.Directory:
        """Labelled recordings of the test split, a folder a label, for the test client."""
        return self.container().with_exec(self.command("clips", CLIPS)).directory(CLIPS)
