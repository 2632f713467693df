"""The options that commands share, each readable from an environment variable ``KWS_…``."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from model import config, console
from model.data import official, source
from model.data.layout import EVERY_WORD
from model.errors import UserError
from model.machine import processors
from model.settings import LABELS, PROFILES, Settings

_DATA, _RECIPE = "Data set", "Recipe (default: the profile's)"

Dataset = Annotated[
    str,
    typer.Option(
        envvar="KWS_DATASET",
        help="speech-commands (the official archive), synthetic (spoken by espeak-ng), or a folder or .tar.gz in the "
        "Speech Commands layout.",
        rich_help_panel=_DATA,
    ),
]
Labels = Annotated[
    str, typer.Option(envvar="KWS_LABELS", help="The words to tell apart, with commas.", rich_help_panel=_DATA)
]
OnlyKeywords = Annotated[
    bool,
    typer.Option(
        "--only-keywords/--all-classes",
        envvar="KWS_ONLY_KEYWORDS",
        help="Tell the keywords apart and nothing else: no _unknown_ from other words, no _silence_ from noise.",
        rich_help_panel=_DATA,
    ),
]
UnseenWords = Annotated[
    str,
    typer.Option(
        envvar="KWS_UNSEEN_WORDS",
        help="Other words to hold back from training, for the test alone, with commas; 'none' for none.",
        show_default="six at most, chosen by their SHA-1",
        rich_help_panel=_DATA,
    ),
]
DatasetUrl = Annotated[
    str,
    typer.Option(
        envvar="KWS_DATASET_URL", help="Where speech-commands is fetched from, a mirror say.", rich_help_panel=_DATA
    ),
]
DatasetSha256 = Annotated[
    str, typer.Option(envvar="KWS_DATASET_SHA256", help="What it must hash to.", rich_help_panel=_DATA)
]
SyntheticSize = Annotated[
    int, typer.Option(envvar="KWS_SYNTHETIC_SIZE", help="Clips a word of synthetic.", rich_help_panel=_DATA)
]
SyntheticSeed = Annotated[
    int, typer.Option(envvar="KWS_SYNTHETIC_SEED", help="Seed of synthetic.", rich_help_panel=_DATA)
]
OtherWords = Annotated[
    str,
    typer.Option(
        envvar="KWS_OTHER_WORDS",
        help="Further words to include, with commas, or 'all' that the data set has.",
        rich_help_panel=_DATA,
    ),
]
Licence = Annotated[
    str,
    typer.Option(
        envvar="KWS_LICENCE",
        help="Of the data, where the data set does not say it: only data with a known licence gets into a model.",
        rich_help_panel=_DATA,
    ),
]
Attribution = Annotated[
    str,
    typer.Option(envvar="KWS_ATTRIBUTION", help="Whom the data's licence asks to be named.", rich_help_panel=_DATA),
]
Output = Annotated[Path, typer.Option(envvar="KWS_OUTPUT", help="Folder to write; replaced whole at the end.")]
PerLabel = Annotated[int, typer.Option(envvar="KWS_PER_LABEL", help="Clips a label.")]

Config = Annotated[
    Path | None,
    typer.Option(
        envvar="KWS_CONFIG",
        help="Repeat a run: its config.json gives what is not given here.",
        is_eager=True,
        callback=config.use,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        envvar="KWS_RESUME",
        help="Go on with a run of this output that was stopped or killed, if there is one.",
    ),
]
Profile = Annotated[
    str,
    typer.Option(
        envvar="KWS_PROFILE", help=f"{', '.join(PROFILES)}: fast, good in two minutes, or as good as it gets."
    ),
]
Seed = Annotated[int, typer.Option(envvar="KWS_SEED", help="Same seed, same data, same machine: same model.")]
Threads = Annotated[
    int | None,
    typer.Option(
        envvar="KWS_THREADS", help="Threads; the weights do not depend on them.", show_default="the processors, up to 4"
    ),
]


def _recipe(name: str, help_: str) -> typer.models.OptionInfo:
    return typer.Option(envvar=f"KWS_{name}", help=help_, show_default=False, rich_help_panel=_RECIPE)


StreamHours = Annotated[
    float | None,
    _recipe("STREAM_HOURS", "Hours of running audio to choose the detection rule on, and to test it on; 0: neither."),
]
Epochs = Annotated[int | None, _recipe("EPOCHS", "Passes over the training split.")]
BatchSize = Annotated[int | None, _recipe("BATCH_SIZE", "Clips a step.")]
LearningRate = Annotated[float | None, _recipe("LEARNING_RATE", "Peak of the one-cycle schedule.")]
WeightDecay = Annotated[float | None, _recipe("WEIGHT_DECAY", "Of AdamW.")]
LabelSmoothing = Annotated[float | None, _recipe("LABEL_SMOOTHING", "Share of the target spread over all labels.")]
Dropout = Annotated[float | None, _recipe("DROPOUT", "Before the last layer.")]
Mixup = Annotated[float | None, _recipe("MIXUP", "Alpha of mixup; 0: none.")]
EmaDecay = Annotated[float | None, _recipe("EMA_DECAY", "Of the averaged weights, a step.")]
UnknownShare = Annotated[
    float | None, _recipe("UNKNOWN_SHARE", "Clips of other words an epoch, as a share of a keyword's clips.")
]
SilenceShare = Annotated[
    float | None, _recipe("SILENCE_SHARE", "Clips without a word an epoch, as a share of a keyword's clips.")
]
Width = Annotated[float | None, _recipe("WIDTH", "Multiplies the network's channels.")]

DEFAULT_LABELS = ",".join(LABELS)


def words_for(dataset: str, settings: Settings) -> tuple[str, ...]:
    """The words that training needs of a data set: all it has, for the class of unknown words, or the keywords."""
    if settings.only_keywords or dataset == "synthetic":  # which speaks what it is asked to, and nothing else
        return settings.labels
    return (*settings.labels, EVERY_WORD)


def default_threads() -> int:
    """The processors that this process may use, up to 4: a batch is trained on in two parts, data are read by all.

    Processes that ``torchrun`` started on one machine share them.
    """
    return max(1, min(4, processors() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def rank() -> int:
    """This process's number among those that ``torchrun`` started, of which 0 alone speaks and writes."""
    return int(os.environ.get("RANK", "0"))


def resolve(
    dataset: str,
    words: tuple[str, ...],
    url: str = official.URL,
    sha256: str = official.SHA256,
    synthetic_size: int = 400,
    synthetic_seed: int = 0,
) -> source.Source:
    """What ``--dataset`` names, as a folder that has ``words``.

    Raises:
        UserError: it is not there, or not what it should be.
    """
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise UserError(f"--dataset-sha256 '{sha256}' is no SHA-256; give its 64 hex digits")
    with console.bar("unpacking (MB)", 1_000_000) as unpacking:
        if dataset == "speech-commands":
            with console.bar("downloading (MB)", 1_000_000) as downloading:
                return official.fetch(url, sha256.lower(), words, downloading, unpacking)
        if dataset == "synthetic":
            from model.data import synthetic

            with console.bar("speaking (clips)") as speaking:
                return synthetic.make(synthetic.Corpus(words, synthetic_size, synthetic_seed), speaking)
        return source.from_path(Path(dataset), words, unpacking)
