"""``model_card.md`` in the form of Hugging Face's hub: front matter for machines, then what a user must know."""

import json
from typing import Any

from kws.detection import is_keyword
from model.report.training_report import template

# Names that the hub has for the licences of known data sets.
_HUB_LICENCES = {"CC BY 4.0": "cc-by-4.0", "CC0 1.0": "cc0-1.0", "MIT": "mit", "Apache 2.0": "apache-2.0"}
_OFTEN = 0.08  # of a word's clips taken for a keyword: the card names the word


def render(evaluation: dict[str, Any], metrics: dict[str, Any]) -> str:
    """The card of a run, from the content of ``evaluation.json`` and ``train_metrics.json``."""
    data, licence = evaluation["data"], evaluation["data"]["licence"]
    words = evaluation["operating"]["other_words"]
    front = {  # JSON, which YAML includes: a name may hold anything
        "licence": _HUB_LICENCES.get(licence, "other"),
        "licence_name": "" if licence in _HUB_LICENCES else json.dumps(licence or "not stated"),
        "source": json.dumps(data["source"]),
    }
    return template("model_card.md.j2").render(
        **evaluation,
        metrics=metrics,
        front=front,
        keywords=[label for label in evaluation["labels"] if is_keyword(label)],
        speakers_apart=data["speakers_known"] and not data["leaks"]["speakers"],
        often_taken={word: found["share"] for word, found in words.items() if found["share"] > _OFTEN},
        worst=min(evaluation["robustness"]["cases"], key=lambda case: float(case["accuracy"])),
    )
