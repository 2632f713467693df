"""The commands that judge: ``check`` a data set, ``evaluate`` a model, ``predict`` files. Heavy imports stay inside."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from model import console, files, options
from model.data import official
from model.data.layout import EVERY_WORD, scan, words_of
from model.errors import BoundsMissed, UserError
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


def predict(
    recordings: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Recordings: WAV, FLAC, Ogg, MP3; any rate, any length.")
    ],
    model: Annotated[Path, typer.Option(envvar="KWS_MODEL", help="The exported model.")] = Path(
        "artifacts/model/model.onnx"
    ),
    windows: Annotated[bool, typer.Option("--windows", help="Show every window of a longer recording.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a file, a line each.")] = False,
) -> None:
    """Tell what the model hears in recordings. Of a longer one the loudest second speaks."""
    from model import audio, inference
    from model import predict as predicting

    loaded = inference.open_model(model, threads=1)
    found, unread = {}, []
    for path in recordings:
        try:
            found[str(path)] = predicting.predict(loaded, audio.decode(path.read_bytes()))
        except audio.BrokenAudioError as error:
            unread.append(f"'{path}' is not a recording that can be read ({error})")
        except OSError as error:
            unread.append(f"'{path}' cannot be read ({files.reason(error)})")
    if found and as_json:
        print("\n".join(json.dumps({"file": name, **one.to_dict()}) for name, one in found.items()))
    elif found:
        console.log.info("%s", predicting.render(found, windows))
    if unread:
        raise UserError("; ".join(unread) + "; give WAV, FLAC, Ogg or MP3 files")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that a user named, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, value)
    console.log.info("written to %s", path)
