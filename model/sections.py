"""The sections of a report, each a list of Markdown blocks, from the content of the JSON files."""

from typing import Any

from model import artefacts, check
from model.markdown import percent, table

_MOST = 15  # rows of a list of examples


def failed(evaluation: dict[str, Any]) -> list[str]:
    """What a reader must see first."""
    lines = [
        f"- ❌ **{g['name']}**: {g['value']}, the bound is {g['bound']}" for g in evaluation["gates"] if not g["passed"]
    ]
    return ["\n".join(lines)] if lines else []


def gates(evaluation: dict[str, Any]) -> list[str]:
    """The bounds that the caller set."""
    return ["## Gates", _bounds(evaluation["gates"])] if evaluation["gates"] else []


def goals(evaluation: dict[str, Any]) -> list[str]:
    """The project's own bounds: how many hold, and which do not."""
    every = evaluation["goals"]
    missed = [goal for goal in every if not goal["passed"]]
    text = f"{len(every) - len(missed)} of {len(every)} hold." + (" Missed:" if missed else "")
    whole = f"<details><summary>All goals</summary>\n\n{_bounds(every)}\n\n</details>"
    unmeasured = [f"- Not measured: {what} ({why})." for what, why in evaluation["not_measured"].items()]
    return [
        "## Goals",
        text,
        *([_bounds(missed)] if missed else []),
        whole,
        *(["\n".join(unmeasured)] if unmeasured else []),
    ]


def _bounds(found: list[dict[str, Any]]) -> str:
    rows = [[gate["name"], gate["value"], gate["bound"], "✅" if gate["passed"] else "❌"] for gate in found]
    return table(["bound on", "value", "bound", "held"], rows)


def curves(metrics: dict[str, Any]) -> list[str]:
    """Loss and accuracy over the epochs."""
    return [
        "## Training curves",
        _picture("Loss and accuracy by epoch", artefacts.CURVES),
        f"Epoch {metrics['best_epoch']} of {metrics['epochs']} was kept: {percent(metrics['best_val_acc'])} of the "
        f"validation clips right, loss {metrics['best_val_loss']:.4f}.",
    ]


def test_split(evaluation: dict[str, Any]) -> list[str]:
    """Figures a class, the confusion matrix, the worst mistakes."""
    rows = [
        [f"`{label}`", percent(f["precision"]), percent(f["recall"]), percent(f["f1"]), f["clips"]]
        for label, f in evaluation["per_class"].items()
    ]
    return [
        "## Test split",
        table(["label", "precision", "recall", "F1", "clips"], rows),
        _picture("Confusion matrix", artefacts.CONFUSION),
        f"With the answer among the keywords alone, {percent(evaluation['keyword_accuracy_among_keywords'])} of them "
        "are right.",
        _examples("The surest mistakes:", evaluation["mistakes"], "No mistakes on the test split."),
    ]


def operating_point(evaluation: dict[str, Any]) -> list[str]:
    """What is taken for a keyword and is none, against recall."""
    found = evaluation["operating"]
    rows = [["keywords, accepted as themselves", *_share(found["recall"])]]
    rows += [[f"{kind}, taken for a keyword", *_share(share)] for kind, share in found["false_accepts"].items()]
    words = [
        f"{kind}: "
        + ", ".join(f"{word} {percent(share['share'])} of {share['clips']}" for word, share in by_word.items())
        for kind, by_word in found["false_accepts_by_word"].items()
        if kind == "unseen words"
    ]
    return [
        "## What it does not know",
        f"A keyword is accepted when it is the likeliest answer with a probability of {found['threshold']:.3f} or "
        f"more: {found['rule']}. Unseen words have no part in training, nor in the choice of the threshold.",
        table(["clips", "share", "95 % interval", "of"], rows),
        _picture("False accepts against recall", artefacts.OPERATING),
        "Each line runs from the threshold 0 to 0.999; the rings are at the stored threshold, the dotted lines are the "
        "goals. Taken for a keyword, by word: " + "; ".join(words) + "."
        if words
        else "Each line runs from the threshold 0 to 0.999; the rings are at the stored threshold.",
        _examples("The surest of what was taken for a keyword:", evaluation["false_accept_examples"], "Nothing was."),
    ]


def running_audio(evaluation: dict[str, Any]) -> list[str]:
    """Misses against false accepts an hour."""
    found = evaluation.get("streaming")
    if not found:
        return []
    rule, points = found["rule"], [("as stored", found["at_rule"])]
    points += [(f"at {point['allowed_per_hour']:g} an hour", point) for point in found["operating_points"]]
    words = list(found["at_rule"]["misses_by_word"])
    rows = [
        [
            name,
            f"{point['threshold']:.4f}",
            f"{point['false_accepts_per_hour']:.2f} (≤ {point['upper_bound_per_hour']:.2f})",
            f"{point['false_accepts_per_hour_with_homophones']:.2f}",
            percent(point["misses"]),
            *(percent(point["misses_by_word"][word]) for word in words),
        ]
        for name, point in points
    ]
    sources = [
        [source, f"{part['hours']:.2f}", part["false_accepts"], "synthetic" if part["synthetic"] else "recorded"]
        for source, part in found["at_rule"]["by_source"].items()
    ]
    return [
        "## Running audio",
        f"{found['hours']:.2f} hours without keywords and {found['keywords']} keywords at known times, heard as the "
        f"service hears them: a window every {rule['hop_seconds']:g} s, {rule['smoothing']} averaged, threshold "
        f"{rule['threshold']:.4f}, detections {rule['refractory_seconds']:g} s apart (chosen on the validation split). "
        f"A keyword counts as heard within {found['tolerance_seconds']:g} s. So few hours can show no rate below "
        f"{found['lowest_upper_bound']:.2f} an hour (95 %).",
        table(["", "threshold", "false accepts an hour (95 %)", "with homophones", "missed", *words], rows),
        _picture("Keywords missed against false accepts an hour", artefacts.STREAMING),
        table(["source", "hours", "false accepts as stored", "voices"], sources),
    ]


def robustness(evaluation: dict[str, Any]) -> list[str]:
    """Keyword accuracy in each case."""
    found = evaluation["robustness"]
    rows = [
        [
            case["name"],
            percent(case["accuracy"]),
            f"{100 * case['difference']:+.1f}",
            percent(case["least"]),
            "✅" if case["passed"] else "❌",
        ]
        for case in found["cases"]
    ]
    return [
        "## Robustness",
        f"Keyword accuracy over {found['clips']} test clips, {percent(found['clean'])} as they are; one clip is "
        f"{100 / max(1, found['clips']):.2f} points.",
        _picture("Keyword accuracy in each case", artefacts.ROBUSTNESS),
        table(["case", "accuracy", "points to clean", "bound", "held"], rows),
    ]


def calibration(evaluation: dict[str, Any]) -> list[str]:
    """Whether probabilities mean what they say."""
    found = evaluation["calibration"]
    return [
        "## Calibration",
        f"Expected calibration error {found['ece']:.4f} in 15 bins; the logits are divided by the temperature "
        f"{found['temperature']:.3f}, chosen on the validation split.",
        _picture("Share right against probability given", artefacts.RELIABILITY),
    ]


def data(found: dict[str, Any]) -> list[str]:
    """Where the data comes from, what the check says of it, and what reading did to it."""
    columns = ["read", "padded", "cut", "silent", "broken"]
    rows = [[name, *(audit[column] for column in columns)] for name, audit in found["splits"].items()]
    lines = check.failure_lines(found["check"])
    broken = [f"`{n}` ({why})" for audit in found["splits"].values() for n, why in audit["broken_clips"].items()]
    return [
        "## Data",
        f"{found['source']}; split by {found['split_rule']}; digest `{found['digest'][:12]}`. "
        f"Licence: {found['licence'] or 'not known'}. {found['attribution']}",
        *(["\n".join(f"- ❌ {line}" for line in lines)] if lines else []),
        check.render({**found["check"], "failures": []}),
        "As the trainer reads them:",
        table(["split", *columns], rows),
        "Padded: shorter than a second, zeros added. Cut: longer, the loudest second kept. Silent: below "
        f"{found['silent_dbfs']:.0f} dBFS, kept. Broken: not decodable or empty, left out.",
        *([f"Broken: {', '.join(broken)}."] if broken else []),
        f"Never heard in training: {', '.join(found['unseen_words']) or 'no word was held back'}.",
    ]


def training(metrics: dict[str, Any]) -> list[str]:
    """Settings, versions, speed, history."""
    header = ["epoch", "train loss", "train acc", "val loss", "val acc"]
    history = [
        [r["epoch"], f"{r['train_loss']:.4f}", percent(r["train_acc"]), f"{r['val_loss']:.4f}", percent(r["val_acc"])]
        for r in metrics["history"]
    ]
    return [
        "## Training",
        table(["setting", "value"], [[f"`{name}`", _plain(value)] for name, value in metrics["settings"].items()]),
        f"{metrics['samples_per_sec']:,.0f} clips a second; "
        + ", ".join(f"{name} {percent(share)}" for name, share in metrics["time_shares"].items())
        + f" of the time. ONNX against PyTorch: largest difference {metrics['onnx']['parity_max_difference']:.1e}, "
        f"file {metrics['onnx']['size_bytes'] / 1e6:.2f} MB.",
        "Versions: "
        + ", ".join(f"{name} {version}" for name, version in metrics["versions"].items())
        + "."
        + (f" Source: `{metrics['revision']}`." if metrics["revision"] else ""),
        f"<details><summary>History</summary>\n\n{table(header, history)}\n\n</details>",
    ]


def _picture(what: str, name: str) -> str:
    return f"![{what}]({artefacts.PLOTS}/{name})"


def _share(share: dict[str, Any]) -> list[str]:
    low, high = share["interval_95"]
    return [percent(share["share"]), f"{percent(low)} to {percent(high)}", str(share["clips"])]


def _examples(title: str, found: list[dict[str, Any]], none: str) -> str:
    if not found:
        return none
    rows = [[f"`{m['clip']}`", m["label"], m["prediction"], percent(m["probability"])] for m in found[:_MOST]]
    more = f"\n\n… and {len(found) - _MOST} more in `{artefacts.EVALUATION}`." if len(found) > _MOST else ""
    return f"{title}\n\n{table(['clip', 'said', 'heard', 'sure'], rows)}{more}"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
