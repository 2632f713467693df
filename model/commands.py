"""The commands that judge: ``check`` a data set, ``evaluate`` a model, ``predict`` files. Heavy imports stay inside."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from model import artefacts, console, files, options
from model.data import official
from model.data.layout import EVERY_WORD, scan, words_of
from model.errors import BoundsMissed, UserError
from model.settings import Settings, parse_labels

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


_GATES = "Gates: a failed one is exit code 3; the files are written all the same"


def _gate(name: str, help_: str, highest: float = 1.0) -> typer.models.OptionInfo:
    return typer.Option(
        envvar=f"KWS_{name}", help=help_, min=0.0, max=highest, show_default=False, rich_help_panel=_GATES
    )


def evaluate(
    model: Annotated[Path, typer.Argument(envvar="KWS_MODEL", help="The exported model.")],
    dataset: options.Dataset = "speech-commands",
    output: options.Output = Path("artifacts/evaluation"),
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            envvar="KWS_CHECKPOINT",
            help="The weights that the model was exported from, for parity with PyTorch.",
            show_default="best_model.pth beside the model, where there is one",
        ),
    ] = None,
    hours: Annotated[
        float, typer.Option(envvar="KWS_HOURS", min=0, max=1000, help="Hours of running audio to test on; 0: none.")
    ] = 6.0,
    speech: Annotated[
        Path | None,
        typer.Option(envvar="KWS_SPEECH", help="A folder of long speech with transcripts: more running audio."),
    ] = None,
    voices: Annotated[
        bool, typer.Option(envvar="KWS_VOICES", help="Test on voices and sentences by espeak-ng, too.")
    ] = True,
    threads: options.Threads = None,
    min_accuracy: Annotated[float | None, _gate("MIN_ACCURACY", "Share of right answers.")] = None,
    min_accuracy_lower: Annotated[
        float | None, _gate("MIN_ACCURACY_LOWER", "Lower end of its 95 % interval (Wilson).")
    ] = None,
    min_recall: Annotated[float | None, _gate("MIN_RECALL", "Recall of each class.")] = None,
    max_false_accepts: Annotated[
        float | None, _gate("MAX_FALSE_ACCEPTS", "Share of each kind of other clips that is taken for a keyword.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(envvar="KWS_BASELINE", help="A former evaluation.json to compare with.", rich_help_panel=_GATES),
    ] = None,
    max_loss_increase: Annotated[
        float | None, _gate("MAX_LOSS_INCREASE", "Of the cross-entropy against the baseline.", 100.0)
    ] = None,
    max_accuracy_drop: Annotated[
        float | None, _gate("MAX_ACCURACY_DROP", "Of the accuracy against the baseline.")
    ] = None,
    goals: Annotated[
        bool, typer.Option("--goals", envvar="KWS_GOALS", help="Every goal of the project.", rich_help_panel=_GATES)
    ] = False,
    dataset_url: options.DatasetUrl = official.URL,
    dataset_sha256: options.DatasetSha256 = official.SHA256,
    synthetic_size: options.SyntheticSize = 400,
    synthetic_seed: options.SyntheticSeed = 0,
) -> None:
    """Judge a model file as its users run it: accuracy, what it does not know, running audio, noise, calibration.

    Writes evaluation.json, report.md and plots/. Where the weights are at hand, parity of the file with PyTorch is a
    gate of its own.
    """
    if baseline is None and (max_loss_increase is not None or max_accuracy_drop is not None):
        raise UserError("--max-loss-increase and --max-accuracy-drop compare with a former run; give its --baseline")
    from model import evaluating, export, inference
    from model.gates import Limits

    threads = threads or options.default_threads()
    loaded = inference.open_model(model, threads)
    former = evaluating.read_baseline(baseline) if baseline else None
    beside = model.parent / artefacts.CHECKPOINT
    weights = checkpoint or (beside if beside.is_file() else None)
    original = export.load_checkpoint(weights) if weights else None
    if original and original.labels != loaded.labels:
        raise UserError(f"checkpoint '{weights}' has other labels than '{model}'; give that of the same run")
    with files.atomic_directory(output, artefacts.is_former_evaluation) as folder:
        every = () if dataset == "synthetic" else (EVERY_WORD,)
        source = options.resolve(
            dataset, (*loaded.keywords, *every), dataset_url, dataset_sha256, synthetic_size, synthetic_seed
        )
        settings = Settings(
            labels=loaded.keywords,
            unseen_words=evaluating.unseen_words(loaded, source),
            stream_hours=hours,
            threads=threads,
        )
        limits = Limits(
            min_accuracy,
            min_accuracy_lower,
            min_recall,
            max_false_accepts,
            max_loss_increase,
            max_accuracy_drop,
            goals,
        )
        judged = evaluating.evaluate_into(
            folder,
            loaded,
            source,
            settings,
            limits,
            checkpoint=original,
            baseline=former,
            voices=voices,
            speech_folder=speech,
        )
    console.log.info("written to %s", output)
    if failed := [gate.line() for gate in judged if not gate.passed]:
        raise BoundsMissed("gate", failed)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that a user named, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, value)
    console.log.info("written to %s", path)
