"""The commands that judge: ``check`` a data set, ``evaluate`` a model, ``predict`` files. Heavy imports stay inside."""

from pathlib import Path
from typing import Annotated, Any

import typer

from model import console, files, options
from model.data import official
from model.data.layout import EVERY_WORD, scan, words_of
from model.errors import BoundsMissed
from model.settings import parse_labels

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", envvar="KWS_JSON", help="Also write the findings into this file, as JSON.", dir_okay=False),
]


def check(
    dataset: Annotated[
        str,
        typer.Argument(
            envvar="KWS_DATASET",
            help="speech-commands, synthetic, or a folder or .tar.gz in the Speech Commands layout.",
        ),
    ],
    labels: options.Labels = options.DEFAULT_LABELS,
    min_clips: Annotated[
        int, typer.Option(envvar="KWS_MIN_CLIPS", min=1, help="Readable clips that a label needs in each split.")
    ] = 10,
    json_file: JsonFile = None,
    dataset_url: options.DatasetUrl = official.URL,
    dataset_sha256: options.DatasetSha256 = official.SHA256,
    synthetic_size: options.SyntheticSize = 400,
    synthetic_seed: options.SyntheticSeed = 0,
) -> None:
    """Look a data set over: counts, durations, clipped, silent, duplicate and broken clips, speakers.

    Fails (exit code 3) where a speaker or an identical recording is in two splits, and where a label has too few
    clips.
    """
    from model import check as checking

    wanted = parse_labels(labels)
    every = () if dataset == "synthetic" else (EVERY_WORD,)  # the synthetic corpus has the words that are named
    source = options.resolve(dataset, (*wanted, *every), dataset_url, dataset_sha256, synthetic_size, synthetic_seed)
    layout = scan(source.root, tuple(dict.fromkeys((*wanted, *words_of(source.root)))))
    result = checking.check(layout, source, wanted, min_clips)
    console.log.info("%s", checking.render(result))
    if json_file:
        write_json(json_file, result)
    if not result["passed"]:
        raise BoundsMissed("check", checking.failure_lines(result))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that a user named, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, value)
    console.log.info("written to %s", path)
