"""The command line. Its options are the fields of ``Settings``; heavy imports stay inside the commands."""

import functools
import inspect
import logging
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from kws.audio import AudioError, decode
from kws.detection import classify, is_keyword
from kws.model_file import ModelError, open_model
from model import console, files
from model.errors import CheckFailed, Interrupted, ParityError, UserError
from model.settings import DATA, RECIPE, RUN, Settings, make_settings

app = typer.Typer(
    help="Train a keyword classifier from a data set, and check what comes out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# Typer carries its own copy of click in newer versions; this finds the right class in all.
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def _variable(name: str, help_: str, *flags: str, **more: Any) -> Any:
    return typer.Option(*flags, envvar=f"KWS_{name}", help=help_, **more)


Output = Annotated[Path, _variable("OUTPUT", "Folder to write; replaced whole at the end.")]
ModelPath = Annotated[Path, _variable("MODEL", "The exported model.")]
Resume = Annotated[bool, _variable("RESUME", "Go on with a run of this output that was stopped.", "--resume")]
MinClips = Annotated[int, _variable("MIN_CLIPS", "Readable clips that a label needs in each split.", min=1)]
PerLabel = Annotated[int, _variable("PER_LABEL", "Clips a label.", min=1)]


def command_of(*panels: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function whose ``chosen`` has an option for each field of ``Settings`` in ``panels``: what
    was given on the command line or in the environment, None elsewhere."""
    wanted = [each for each in fields(Settings) if each.metadata["panel"] in panels]

    def option(field: Any) -> inspect.Parameter:
        kind: Any = field.type if field.type in (str, int, float, bool) else str
        shown = field.metadata["panel"] != RECIPE and isinstance(field.default, str | int) and str(field.default)
        more = {"show_default": shown or False, "rich_help_panel": field.metadata["panel"]}
        annotation = Annotated[kind | None, _variable(field.name.upper(), field.metadata["help"], **more)]
        return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            command(chosen={each.name: given.pop(each.name) for each in wanted}, **given)

        own = [each for each in inspect.signature(command).parameters.values() if each.name != "chosen"]
        vars(run).update(__signature__=inspect.Signature([*own, *map(option, wanted)]))
        return app.command()(run)

    return decorate


@command_of(DATA, RECIPE, RUN)
def train(chosen: dict[str, Any], output: Output = Path("artifacts/model"), resume: Resume = False) -> None:
    """Train, choose the best epoch on validation, test once, export; everything into one folder.

    Writes best_model.pth, model.onnx, train.log, train_metrics.json, evaluation.json, config.json, report.md,
    model_card.md and plots/. A run that fails leaves its log beside the folder, as <folder>.log.
    """
    settings = make_settings(chosen)
    from model import run

    output = files.normal(output)
    state, log_file = output.with_name(f"{output.name}.resume"), output.with_name(f"{output.name}.log")
    with files.atomic_directory(output, files.holding(run.LOG, *run.ARTEFACTS)) as folder:
        try:
            with console.logged_to(log_file):
                run.run(settings, folder, state, resume)
        except BaseException as error:
            if isinstance(error, Interrupted) and state.is_dir():
                error.add_note("--resume goes on after the last whole epoch")
            error.add_note(f"the log is {log_file}")
            raise
        shutil.copy(log_file, folder / run.LOG)
    log_file.unlink()
    shutil.rmtree(state, ignore_errors=True)
    console.log.info("written to %s", output)


@command_of(DATA, RUN)
def evaluate(
    chosen: dict[str, Any],
    model: Annotated[Path, typer.Argument(envvar="KWS_MODEL", help="The exported model.")],
    output: Output = Path("artifacts/evaluation"),
) -> None:
    """Judge a model on a data set's test split: evaluation.json, report.md, plots/.

    Parity with PyTorch is measured where the model's best_model.pth is beside it.
    """
    loaded = open_model(model)
    from model import run

    settings = make_settings({**chosen, "labels": chosen["labels"] or list(filter(is_keyword, loaded.info.labels))})
    checkpoint = model.with_name(run.CHECKPOINT)
    with files.atomic_directory(output, files.holding(run.EVALUATION, "report.md", "plots")) as folder:
        run.judge(loaded, settings, folder, checkpoint if checkpoint.is_file() else None)
    console.log.info("written to %s", output)


@command_of(DATA)
def check(
    chosen: dict[str, Any],
    dataset_: Annotated[str | None, typer.Argument(metavar="[DATASET]", help="The same as --dataset.")] = None,
    min_clips: MinClips = 10,
) -> None:
    """Look a data set over: counts, short, long, clipped, silent, duplicate and broken clips, speakers.

    Fails (exit code 3) where a speaker or an identical recording is in two splits, or a label has too few clips.
    """
    from model.data import check as checking
    from model.data.source import open_dataset

    dataset = open_dataset(make_settings({**chosen, "dataset": dataset_ or chosen["dataset"]}))
    lines, failures = checking.check(dataset, min_clips)
    console.log.info("%s", "\n".join(lines))
    if failures:
        raise CheckFailed(*failures)


@app.command()
def predict(
    recordings: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings of any format and length.")],
    model: ModelPath = Path("artifacts/model/model.onnx"),
) -> None:
    """Tell what the model hears in recordings. In a longer one the loudest second counts."""
    loaded, unread = open_model(model), []
    for recording in recordings:
        try:
            found = classify(loaded, decode(recording.read_bytes(), loaded.info.sample_rate).waveform)
        except AudioError as error:
            unread.append(f"'{recording}' cannot be heard: {error.detail.rstrip('.')}")
            continue
        shares = zip(loaded.info.labels, found.probabilities[found.best].tolist(), strict=True)
        below = is_keyword(found.label) and not found.accepted
        heard = found.label + f", below the threshold of {loaded.info.threshold:.2f}" * below
        shown = ", ".join(f"{label} {100 * share:.1f} %" for label, share in shares)
        console.log.info("%s: %s (%s)", recording, heard, shown)
    if unread:
        raise UserError("; ".join(unread))


@command_of(DATA)
def clips(chosen: dict[str, Any], output: Output, per_label: PerLabel = 10) -> None:
    """Write a few WAVs of the test split as LABEL/NAME.wav, for a test client; the same choice each time."""
    from model.data import recording
    from model.data.source import open_dataset

    with files.atomic_directory(output, lambda former: (former / recording.LIST).is_file()) as folder:
        recording.write_test_clips(folder, open_dataset(make_settings(chosen)), per_label)
    console.log.info("written to %s", output)


def _interrupt(signum: int, _frame: object) -> NoReturn:
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_IGN)  # one is enough; let the clean-up finish
    raise Interrupted(signum)


def _told(error: Any) -> str:
    """The line for a user; empty where help was shown. Raises the error where it is a fault of the program."""
    if isinstance(error, _UsageError):
        return f"{error.format_message().rstrip('.')}; see --help" if error.format_message() else ""
    if files.no_space(error):
        return "no space left on the disk for the output or the cache; free some, or set --output or KWS_CACHE"
    if isinstance(error, OSError):
        if error.filename is None:
            raise error
        return f"'{error.filename}' cannot be read or written ({files.reason(error)}); mend it or give another path"
    return str(error)


def main() -> NoReturn:
    """Run the command line. Exit codes: 0 done, 1 a fault, 2 bad input, 3 a failed check, 128 + n on signal n."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)
    logging.raiseExceptions = False  # a pipe that was closed is no fault
    console.log.handlers = [logging.StreamHandler(sys.stdout)]
    console.log.setLevel(logging.INFO)
    console.log.propagate = False
    try:
        sys.exit(typer.main.get_command(app).main(prog_name="python -m model", standalone_mode=False) or 0)
    except CheckFailed as failed:
        for line in failed.args:
            print(f"check failed: {' '.join(line.split())}", file=sys.stderr)
        sys.exit(3)
    except (UserError, ModelError, ParityError, _UsageError, Interrupted, OSError) as error:
        if message := _told(error):
            print("; ".join([f"error: {' '.join(message.split())}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        sys.exit(128 + error.signum if isinstance(error, Interrupted) else 1 if isinstance(error, ParityError) else 2)
