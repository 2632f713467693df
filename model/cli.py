"""The command line. Heavy imports stay inside the commands that need them."""

import functools
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import typer

from model import artefacts, commands, console, files, options
from model import config as configs
from model.data import materialise, official
from model.data.layout import EVERY_WORD, require_clips, scan, words_of
from model.data.licence import licensed
from model.data.source import Source
from model.errors import BoundsMissed, Interrupted, ParityError, UserError
from model.settings import Settings, make_settings, parse_labels, parse_unseen

app = typer.Typer(
    name="python -m model",
    help="Train a keyword classifier from a data set, and check what comes out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Typer carries its own copy of click in newer versions; this finds the right class in all.
_UsageError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


@app.command()
def train(
    context: typer.Context,
    dataset: options.Dataset = "speech-commands",
    output: options.Output = Path("artifacts/model"),
    labels: options.Labels = options.DEFAULT_LABELS,
    only_keywords: options.OnlyKeywords = False,
    unseen_words: options.UnseenWords = "",
    profile: options.Profile = "standard",
    seed: options.Seed = 0,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    weight_decay: options.WeightDecay = None,
    label_smoothing: options.LabelSmoothing = None,
    dropout: options.Dropout = None,
    mixup: options.Mixup = None,
    ema_decay: options.EmaDecay = None,
    width: options.Width = None,
    unknown_share: options.UnknownShare = None,
    silence_share: options.SilenceShare = None,
    threads: options.Threads = None,
    stream_hours: options.StreamHours = None,
    licence: options.Licence = "",
    attribution: options.Attribution = "",
    dataset_url: options.DatasetUrl = official.URL,
    dataset_sha256: options.DatasetSha256 = official.SHA256,
    synthetic_size: options.SyntheticSize = 400,
    synthetic_seed: options.SyntheticSeed = 0,
    config: options.Config = None,  # noqa: ARG001 - its callback has done the work
    resume: options.Resume = False,  # noqa: ARG001 - read from the context
) -> None:
    """Train, choose the best epoch on validation, test once, export; everything into one folder.

    Writes best_model.pth, model.onnx, train.log, train_metrics.json, evaluation.json, config.json, report.md,
    model_card.md and plots/. While it runs, what --resume needs is kept beside the folder, in <folder>.resume.
    """
    chosen = {
        "labels": parse_labels(labels),
        "only_keywords": only_keywords,
        "unseen_words": parse_unseen(unseen_words),
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "label_smoothing": label_smoothing,
        "dropout": dropout,
        "mixup": mixup,
        "ema_decay": ema_decay,
        "width": width,
        "unknown_share": unknown_share,
        "silence_share": silence_share,
        "stream_hours": stream_hours,
        "threads": threads or (options.default_threads() if threads is None else 0),
    }
    settings = make_settings(profile, **configs.merged(context, chosen))

    def find() -> Source:
        words = options.words_for(dataset, settings)
        source = options.resolve(dataset, words, dataset_url, dataset_sha256, synthetic_size, synthetic_seed)
        source = licensed(source, licence, attribution)
        require_clips(scan(source.root, settings.labels), settings.labels, source.name)  # before torch loads
        return source

    if options.rank() > 0:
        _train(context, None, find(), settings)
        return
    with (
        files.atomic_directory(output, artefacts.is_former_run) as folder,
        console.logged_to(folder / artefacts.LOG),
    ):
        _train(context, folder, find(), settings)
    shutil.rmtree(artefacts.resume_folder(output), ignore_errors=True)
    console.log.info("written to %s", output)


@app.command()
def data(
    output: options.Output,
    dataset: options.Dataset = "speech-commands",
    labels: options.Labels = options.DEFAULT_LABELS,
    other_words: options.OtherWords = "",
    dataset_url: options.DatasetUrl = official.URL,
    dataset_sha256: options.DatasetSha256 = official.SHA256,
    synthetic_size: options.SyntheticSize = 400,
    synthetic_seed: options.SyntheticSeed = 0,
) -> None:
    """Write a data set as a folder in the Speech Commands layout: the labels' words, the noise, the split lists."""
    wanted = parse_labels(labels)
    words = (*wanted, *_parse_other(other_words, wanted))
    with files.atomic_directory(output, materialise.is_former_data) as folder:
        source = options.resolve(dataset, words, dataset_url, dataset_sha256, synthetic_size, synthetic_seed)
        if EVERY_WORD in words:
            words = tuple(dict.fromkeys((*wanted, *words_of(source.root))))
        layout = scan(source.root, words)
        require_clips(layout, wanted, source.name)
        materialise.write_data(folder, layout, source)
    console.log.info("written to %s", output)


@app.command()
def clips(
    output: options.Output,
    dataset: options.Dataset = "speech-commands",
    labels: options.Labels = options.DEFAULT_LABELS,
    per_label: options.PerLabel = 10,
    dataset_url: options.DatasetUrl = official.URL,
    dataset_sha256: options.DatasetSha256 = official.SHA256,
    synthetic_size: options.SyntheticSize = 400,
    synthetic_seed: options.SyntheticSeed = 0,
) -> None:
    """Write a few WAVs of the test split as LABEL/NAME.wav, for a probe; the same choice each time."""
    wanted = parse_labels(labels)
    if per_label < 1:
        raise UserError(f"--per-label {per_label} is out of range; give 1 or more")
    with files.atomic_directory(output, materialise.is_former_clips) as folder:
        source = options.resolve(dataset, wanted, dataset_url, dataset_sha256, synthetic_size, synthetic_seed)
        layout = scan(source.root, wanted)
        require_clips(layout, wanted, source.name, ("testing",))
        materialise.write_clips(folder, layout, source, wanted, per_label)
    console.log.info("written to %s", output)


app.command()(commands.check)
app.command()(commands.evaluate)
app.command()(commands.predict)


def _train(context: typer.Context, folder: Path | None, source: Source, settings: Settings) -> None:
    """The stage itself; without a folder in all processes but the first."""
    from model import provenance, run

    configs.warn_of_versions(context, provenance.versions())
    state = artefacts.resume_folder(context.params["output"])
    with console.bar("training (epochs)", quiet=True) as show:

        def on_epoch(epoch: Any, best: bool) -> None:
            console.log.info(
                "epoch %3d/%d  train loss %.4f acc %.4f  val loss %.4f acc %.4f%s",
                *(epoch.epoch, settings.epochs, epoch.train_loss, epoch.train_acc, epoch.val_loss, epoch.val_acc),
                "  *" if best else "",
            )
            show(epoch.epoch, settings.epochs)

        try:
            run.train_into(
                *(folder, source, settings, on_epoch, state),
                resume=context.params["resume"],
                options=configs.data_options(context),
                check_data=functools.partial(configs.check_data, context),
            )
        except Interrupted as stop:
            if state.is_dir():
                stop.left = "the output is as it was; --resume goes on after the last whole epoch"
            raise


def _parse_other(text: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    if text.strip() == "all":
        return (EVERY_WORD,)
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    return tuple(word for word in dict.fromkeys(words) if word not in labels)


def _interrupt(signum: int, _frame: FrameType | None) -> NoReturn:
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_IGN)  # one is enough; let the clean-up finish
    raise Interrupted(signum)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def main() -> NoReturn:
    """Run the command line. Exit codes: 0 done, 1 a fault or failed parity, 2 bad input, 3 a failed
    check or gate, 128 + n on signal n."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)
    # cuBLAS is deterministic with a workspace of its own only; read once, when a GPU is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    console.set_up(quiet=options.rank() > 0)
    try:
        sys.exit(typer.main.get_command(app).main(prog_name="python -m model", standalone_mode=False) or 0)
    except UserError as error:
        _fail(str(error), 2)
    except ParityError as error:
        _fail(str(error), 1)
    except BoundsMissed as missed:
        for line in missed.lines:
            print(f"{missed.what} failed: {' '.join(line.split())}", file=sys.stderr)
        sys.exit(3)
    except _UsageError as error:
        if message := error.format_message():  # type: ignore[attr-defined]
            _fail(f"{message.rstrip('.')}; see --help", 2)
        sys.exit(2)  # no command was given: the help has been shown
    except Interrupted as stop:
        _fail(f"stopped by {signal.Signals(stop.signum).name}; {stop.left}", 128 + stop.signum)
    except OSError as error:
        if files.no_space(error):
            _fail("no space left on the disk for the output or the cache; free some, or set --output or KWS_CACHE", 2)
        if error.filename is None:
            raise
        _fail(f"'{error.filename}' cannot be read or written ({files.reason(error)}); mend it or give another path", 2)
