"""One model file, one data set, one verdict: all of ``evaluation.json``, the same in ``train`` and in ``evaluate``."""

import logging
import time
from dataclasses import asdict
from typing import Any

from model import export, gates, material
from model.dataset import Corpus
from model.evaluation import assess
from model.inference import OnnxModel

log = logging.getLogger(__name__)


def examine(
    model: OnnxModel,
    corpus: Corpus,
    threshold: float,
    *,
    checkpoint: export.Checkpoint | None = None,
    no_voices: str = "",
) -> dict[str, Any]:
    """Judge ``model`` on the test split of ``corpus`` and what surrounds it.

    Args:
        threshold: of a clip; below it a keyword is not accepted.
        checkpoint: the network that the model was exported from, for parity; None: not measured.
        no_voices: why there shall be no synthetic voices, if so.
    """
    started = time.perf_counter()
    judged = material.gather(corpus, model.labels, no_voices)
    evaluation = assess(model, judged, threshold)
    evaluation["model_version"] = model.metadata["model_version"]
    evaluation["data_digest"] = corpus.digest
    evaluation["calibration"]["temperature"] = float(model.metadata.get("temperature", "1"))
    evaluation["parity"] = None
    if checkpoint is None:
        evaluation["not_measured"]["parity"] = "no checkpoint was given"
    else:
        parity = export.measure_parity(model, checkpoint.network, checkpoint.temperature, judged.waveforms)
        evaluation["parity"] = asdict(parity)
    evaluation["goals"] = [asdict(gate) for gate in gates.goals(evaluation)]
    evaluation["gates"] = []
    evaluation["seconds"] = time.perf_counter() - started
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
    missed = [goal for goal in evaluation["goals"] if not goal["passed"]]
    log.info("%d of %d goals met", len(evaluation["goals"]) - len(missed), len(evaluation["goals"]))
    for goal in missed:
        log.info("goal missed: %s: %s, the bound is %s", goal["name"], goal["value"], goal["bound"])


def headline(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The few figures that go into the model file."""
    operating = evaluation["operating"]
    return {
        "test_clips": evaluation["n"],
        "accuracy": round(evaluation["accuracy"], 4),
        "keyword_accuracy": round(evaluation["keyword_accuracy"], 4),
        "keyword_recall": round(operating["recall"]["share"], 4),
        "false_accepts": {kind: round(found["share"], 4) for kind, found in operating["false_accepts"].items()},
        "expected_calibration_error": round(evaluation["calibration"]["ece"], 4),
    }
