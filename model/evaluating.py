"""The stage ``evaluate``: a model file and a data set in, its evaluation and a report out."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from model import artefacts, dataset, examine, export, files, gates, inference, report
from model.data import speech
from model.data.layout import EVERY_WORD, require_clips, scan, words_of
from model.data.source import Source
from model.detection import Rule
from model.errors import UserError
from model.settings import Settings

log = logging.getLogger(__name__)

_NEEDED = ("accuracy", "loss")


def evaluate_into(
    folder: Path,
    model: inference.OnnxModel,
    source: Source,
    settings: Settings,
    limits: gates.Limits,
    *,
    checkpoint: export.Checkpoint | None = None,
    baseline: dict[str, Any] | None = None,
    voices: bool = True,
    speech_folder: Path | None = None,
) -> list[gates.Gate]:
    """Judge ``model`` on the test split of ``source``; write ``evaluation.json``, ``report.md`` and ``plots/``.

    Returns:
        The gates that ``limits`` set, held or not.

    Raises:
        UserError: the data set lacks the model's words, or the model says nonsense of itself.
    """
    torch.set_num_threads(1)
    layout = scan(source.root, (*model.keywords, EVERY_WORD))
    require_clips(layout, model.keywords, source.name)
    corpus = dataset.load(layout, settings)
    if model.metadata.get("data_digest") not in (None, corpus.digest):
        log.info("the model was trained on other data than '%s'", source.name)
    threshold = model.threshold
    if threshold is None:
        threshold = 0.5
        log.info("the model has no threshold of its own: 0.5 is taken")
    evaluation = examine.examine(
        model,
        corpus,
        threshold,
        detection_rule(model),
        settings.stream_hours,
        checkpoint=checkpoint,
        no_voices=examine.no_voices(source, voices),
        speech=speech.find(speech_folder, model.keywords) if speech_folder else (),
    )
    judged = gates.judge(evaluation, limits, baseline)
    evaluation["gates"] = [asdict(gate) for gate in judged]
    evaluation["data"] = {"source": source.name, "licence": source.licence, "digest": corpus.digest}
    files.write_json(folder / artefacts.EVALUATION, evaluation)
    report.write(folder, evaluation)
    log.info("%d of %d gates held", sum(gate.passed for gate in judged), len(judged))
    return judged


def unseen_words(model: inference.OnnxModel, source: Source) -> tuple[str, ...] | None:
    """The words of ``source`` that the model says it has never heard; None where it does not say, or has all heard.

    Raises:
        UserError: the metadata are broken.
    """
    if not (text := model.metadata.get("unseen_words")):
        return None
    try:
        told = {str(word) for word in json.loads(text)}
    except (ValueError, TypeError) as error:
        raise UserError(f"the model's metadata 'unseen_words' is no JSON list ({error}); export it again") from error
    return tuple(sorted(told & set(words_of(source.root)))) or None


def detection_rule(model: inference.OnnxModel) -> Rule:
    """The rule for running audio that the model carries; the default one where it carries none.

    Raises:
        UserError: the metadata are broken.
    """
    if not (text := model.metadata.get("detection")):
        log.info("the model has no rule for running audio: the default one is taken")
        return Rule()
    try:
        return Rule(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise UserError(f"the model's metadata 'detection' is no rule ({error}); export it again") from error


def read_baseline(path: Path) -> dict[str, Any]:
    """A former ``evaluation.json``.

    Raises:
        UserError: nothing there, or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"--baseline '{path}' does not exist; give a former run's evaluation.json") from error
    except ValueError as error:
        raise UserError(f"--baseline '{path}' is not JSON ({error}); give a former run's evaluation.json") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(key), int | float) for key in _NEEDED):
        raise UserError(f"--baseline '{path}' is no evaluation; give a former run's evaluation.json")
    return content
