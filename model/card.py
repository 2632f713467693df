"""``model_card.md`` in the form of Hugging Face's hub: front matter for machines, then what a user must know."""

import json
from typing import Any

from model.markdown import percent, table
from model.settings import is_keyword

# SPDX-like names of the hub for licences that our data sets have.
_HUB_LICENCES = {"CC BY 4.0": "cc-by-4.0", "CC0 1.0": "cc0-1.0", "MIT": "mit", "Apache 2.0": "apache-2.0"}


def render(evaluation: dict[str, Any], metrics: dict[str, Any]) -> str:
    """The card of a run, from the content of ``evaluation.json`` and ``train_metrics.json``."""
    keywords = filter(is_keyword, evaluation["labels"])
    return (
        "\n\n".join(
            [
                _front_matter(evaluation, metrics["data"]),
                f"# Keyword spotter: {', '.join(keywords)}",
                f"Classifies one second of speech: {_classes(evaluation['labels'])}. One ONNX file, from the waveform "
                f"(`float32[batch, 16000]`, 16 kHz mono, full scale 1) to probabilities, features inside; "
                f"{metrics['parameters']:,} parameters, {metrics['onnx']['size_bytes'] / 1e6:.2f} MB. Model version "
                f"`{evaluation['model_version']}`.",
                "## Intended use",
                "Spotting these words in English speech from a near microphone, in clips or (by the rule stored in the "
                "file's metadata under `detection`) in running audio. Below the stored `threshold` a keyword is not "
                "accepted. Not for anything where a missed or a falsely heard word can do harm, nor for telling who "
                "speaks.",
                "## Data",
                *_data(evaluation, metrics["data"]),
                "## Figures",
                *_figures(evaluation),
                "## Limits",
                "\n".join(f"- {line}" for line in _limits(evaluation, metrics)),
                "## How it was made",
                f"TC-ResNet8 (Choi et al. 2019, arXiv:1904.03814), {metrics['epochs']} epochs in "
                f"{metrics['training_time_sec']:.0f} s, seed {metrics['seed']}, profile "
                f"`{metrics['settings']['profile']}`; the epoch, the temperature and the thresholds were chosen on the "
                "validation split, the test split was read once. "
                + (f"Source `{metrics['revision']}`. " if metrics["revision"] else "")
                + f"torch {metrics['versions']['torch']}. The settings stand in `train_metrics.json`, every figure in "
                "`evaluation.json`.",
            ]
        )
        + "\n"
    )


def _front_matter(evaluation: dict[str, Any], data: dict[str, Any]) -> str:
    """YAML; values that may hold anything are written as JSON, which YAML includes."""
    licence = _HUB_LICENCES.get(data["licence"])
    figures = [("accuracy", "Accuracy", evaluation["accuracy"]), ("recall", "Keyword recall", _recall(evaluation))]
    lines = [
        "language: en",
        *([f"license: {licence}"] if licence else ["license: other", f"license_name: {json.dumps(data['licence'])}"]),
        "pipeline_tag: audio-classification",
        "library_name: onnx",
        "tags: [keyword-spotting, speech-commands, onnx]",
        *(["datasets: [google/speech_commands]"] if "Speech Commands" in data["source"] else []),
        "metrics: [accuracy, recall]",
        "model-index:",
        "- name: kws",
        "  results:",
        "  - task:",
        "      type: audio-classification",
        "    dataset:",
        f"      name: {json.dumps(data['source'])}",
        "      type: speech_commands",
        "      split: test",
        "    metrics:",
    ]
    for kind, name, value in figures:
        lines += [f"    - type: {kind}", f"      name: {name}", f"      value: {value:.4f}"]
    return "\n".join(["---", *lines, "---"])


def _recall(evaluation: dict[str, Any]) -> float:
    return float(evaluation["operating"]["recall"]["share"])


def _classes(labels: list[str]) -> str:
    words = {"_unknown_": "`_unknown_` (any other word)", "_silence_": "`_silence_` (no word)"}
    return ", ".join(words.get(label, label) for label in labels)


def _data(evaluation: dict[str, Any], data: dict[str, Any]) -> list[str]:
    clips = [[name, *(counts[label] for label in evaluation["labels"])] for name, counts in data["clips"].items()]
    return [
        f"{data['source']}, licence: {data['licence']}. {data['attribution']}".strip(),
        f"Split by {data['split_rule']}: no speaker is in two splits. Content digest `{data['digest']}`.",
        table(["clips", *(f"`{label}`" for label in evaluation["labels"])], clips),
        "The training split's `_unknown_` are drawn anew each epoch from all its other words, its `_silence_` from the "
        f"background recordings. Held back from training: {', '.join(data['unseen_words']) or 'no word'}.",
    ]


def _figures(evaluation: dict[str, Any]) -> list[str]:
    low, high = evaluation["accuracy_interval_95"]
    operating = evaluation["operating"]
    rows = [
        ["right answers", f"{percent(evaluation['accuracy'])} ({percent(low)} to {percent(high)})", evaluation["n"]],
        ["right answers, keywords", percent(evaluation["keyword_accuracy"]), evaluation["keyword_clips"]],
        ["keywords accepted as themselves", percent(_recall(evaluation)), evaluation["keyword_clips"]],
    ]
    for kind, found in operating["false_accepts"].items():
        rows.append([f"{kind}, taken for a keyword", percent(found["share"]), found["clips"]])
    rows.append(["expected calibration error", f"{evaluation['calibration']['ece']:.4f}", evaluation["n"]])
    text = [f"On the test split; accepted: with a probability of {operating['threshold']:.3f} or more."]
    if streaming := evaluation.get("streaming"):
        point = streaming["operating_points"][0]
        text.append(
            f"In {streaming['hours']:.1f} hours of running audio (partly synthetic), at "
            f"{point['allowed_per_hour']:g} false accepts an hour, {percent(point['misses'])} of the keywords are "
            "missed."
        )
    return [table(["what", "share", "clips"], rows), " ".join(text)]


def _limits(evaluation: dict[str, Any], metrics: dict[str, Any]) -> list[str]:
    worst = [case for case in evaluation["robustness"]["cases"] if not case["passed"]]
    words = sorted(evaluation["operating"]["false_accepts_by_word"].get("unseen words", {}).items())
    taken = [(word, share["share"]) for word, share in words if share["share"] > 0.08]
    lines = [
        f"{evaluation['n']} test clips: the interval above is what they can tell.",
        "One second at a time; the voices are those of the data set, English and mostly adult.",
        "Words that sound like a keyword (know and no) cannot be told from it.",
    ]
    if "_unknown_" not in evaluation["labels"]:
        lines.append("Trained on the keywords alone: it takes any sound for one of them.")
    if taken:
        often = ", ".join(f"{word} ({percent(share)})" for word, share in sorted(taken, key=lambda item: -item[1]))
        lines.append(f"Words never heard in training that it often takes for a keyword: {often}.")
    if worst:
        lines.append(
            "Below the project's bound: " + ", ".join(f"{c['name']} ({percent(c['accuracy'])})" for c in worst) + "."
        )
    if metrics["data"]["source"].startswith("synthetic"):
        lines.append("Trained on synthetic voices alone: for trying the pipeline out, not for people's speech.")
    return lines
