"""One model file, one data set, one verdict: all of ``evaluation.json``, the same in ``train`` and in ``evaluate``."""

import logging
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from model import export, gates, material, streaming
from model.data import espeak
from model.data.source import Source
from model.data.streams import Stream
from model.dataset import Corpus
from model.detection import Rule
from model.errors import UserError
from model.evaluation import assess
from model.inference import OnnxModel

log = logging.getLogger(__name__)


def examine(
    model: OnnxModel,
    corpus: Corpus,
    threshold: float,
    rule: Rule,
    hours: float,
    *,
    checkpoint: export.Checkpoint | None = None,
    no_voices: str = "",
    speech: Iterable[Stream] = (),
) -> dict[str, Any]:
    """Judge ``model`` on the test split of ``corpus`` and what surrounds it.

    Args:
        threshold: of a clip; below it a keyword is not accepted.
        rule: how detections in running audio are made.
        hours: of running audio without keywords; 0 for none.
        checkpoint: the network that the model was exported from, for parity; None: not measured.
        no_voices: why there shall be no synthetic voices, if so.
        speech: the user's own running audio.
    """
    started = time.perf_counter()
    log.info("judging on the test split")
    judged = material.gather(corpus, model.labels, no_voices)
    evaluation = assess(model, judged, threshold)
    evaluation["model_version"] = model.metadata["model_version"]
    evaluation["data_digest"] = corpus.digest
    evaluation["calibration"]["temperature"] = float(model.metadata.get("temperature", "1"))
    evaluation["streaming"] = None
    if hours:
        sources = streaming.sources_of(corpus, "testing", speech, sentences=not no_voices)
        evaluation["streaming"] = streaming.measure(model, model.labels, rule, sources, hours)
    else:
        evaluation["not_measured"]["running audio"] = "0 hours were asked for"
    evaluation["parity"] = None
    if checkpoint is None:
        evaluation["not_measured"]["parity"] = "no checkpoint was given"
    else:
        parity = export.measure_parity(model, checkpoint.network, checkpoint.temperature, judged.waveforms)
        evaluation["parity"] = asdict(parity)
    evaluation["goals"] = [asdict(gate) for gate in gates.goals(evaluation)]
    evaluation["gates"] = []
    log.info("judged in %.1f s", time.perf_counter() - started)
    tell(evaluation)
    return evaluation


def tell(evaluation: dict[str, Any]) -> None:
    """The figures that matter, as lines of the log."""
    low, high = evaluation["accuracy_interval_95"]
    log.info(
        "test accuracy %.2f %% (%d of %d, 95 %% interval %.1f to %.1f %%), keywords %.2f %%",
        *(100 * evaluation["accuracy"], evaluation["correct"], evaluation["n"], 100 * low, 100 * high),
        100 * evaluation["keyword_accuracy"],
    )
    operating = evaluation["operating"]
    taken = [f"{kind} {100 * found['share']:.1f} %" for kind, found in operating["false_accepts"].items()]
    log.info(
        "at the threshold %.3f: keyword recall %.1f %%, taken for a keyword: %s",
        *(operating["threshold"], 100 * operating["recall"]["share"], ", ".join(taken) or "nothing measured"),
    )
    if found := evaluation["streaming"]:
        rule, point = found["at_rule"], found["operating_points"][0]
        log.info(
            "%.2f h of running audio: %.2f false accepts an hour, %.1f %% missed as stored; %.1f %% missed at %g",
            *(found["hours"], rule["false_accepts_per_hour"], 100 * rule["misses"]),
            *(100 * point["misses"], point["allowed_per_hour"]),
        )
    missed = [goal for goal in evaluation["goals"] if not goal["passed"]]
    log.info("%d of %d goals met", len(evaluation["goals"]) - len(missed), len(evaluation["goals"]))
    for goal in missed:
        log.info("goal missed: %s: %s, the bound is %s", goal["name"], goal["value"], goal["bound"])


def no_voices(source: Source, wanted: bool = True) -> str:
    """Why espeak-ng's voices cannot judge a model that was trained on ``source``; empty where they can."""
    if not wanted:
        return "not asked for"
    if source.name.startswith("synthetic"):
        return "the data set has such voices itself"
    try:
        espeak.data_path()
    except UserError as error:
        return str(error)
    return ""


def headline(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The few figures that go into the model file."""
    operating, running = evaluation["operating"], evaluation["streaming"] or {"operating_points": []}
    missed = {f"{p['allowed_per_hour']:g}": round(p["misses"], 4) for p in running["operating_points"]}
    return {
        "test_clips": evaluation["n"],
        "accuracy": round(evaluation["accuracy"], 4),
        "keyword_accuracy": round(evaluation["keyword_accuracy"], 4),
        "keyword_recall": round(operating["recall"]["share"], 4),
        "false_accepts": {kind: round(found["share"], 4) for kind, found in operating["false_accepts"].items()},
        "expected_calibration_error": round(evaluation["calibration"]["ece"], 4),
        "missed_at_false_accepts_per_hour": missed,
    }
