"""What a model can do: all of ``evaluation.json``, the same in ``train`` and in ``evaluate``.

A model is judged as its users run it, by its file, with its own threshold and rule, on the test split.
"""

from typing import Any

import numpy as np
from torch.nn import Module

from kws.detection import SILENCE, UNKNOWN, is_keyword
from kws.model_file import Model
from model.calibration import at_bound, calibration_error, keyword_mask
from model.console import log
from model.corpus import Corpus
from model.data import check
from model.data.source import open_dataset
from model.data.speech import NONE, SPOKEN
from model.errors import UserError
from model.evaluation import clips, robustness, running_audio
from model.export import measure_parity
from model.features import read_clips
from model.settings import Settings

VOICES_PER_WORD = 50


def evaluate(model: Model, corpus: Corpus, settings: Settings, network: Module | None = None) -> dict[str, Any]:
    """Judge ``model`` on the test split of ``corpus``, but for clips of a class that it does not have: as JSON values.

    ``network`` is what it was exported from, for parity. What could not be measured is in ``not_measured``, and why.
    """
    dataset, about = corpus.dataset, ("licence", "attribution", "split_rule", "synthetic", "speakers_known")
    labels, split, classes = model.info.labels, corpus.splits["testing"], corpus.classes("testing")
    rows = [row for row, label in enumerate(classes) if label in labels]
    targets = np.array([labels.index(classes[row]) for row in rows], np.int64)
    names, waveforms = [split.clips[row].name for row in rows], corpus.waveforms("testing")
    waveforms = waveforms if len(rows) == len(waveforms) else waveforms[rows]
    probabilities, said = model(waveforms), np.flatnonzero(keyword_mask(labels)[targets])
    noise, running = corpus.noise_waveforms["testing"], running_audio.measure(model, corpus)
    temperature = float(model.info.metadata.get("temperature", "1"))
    calibration = {"ece": calibration_error(probabilities, targets), "temperature": temperature}
    voices, no_voices = _voices(model, corpus, settings)
    missing = {
        "noise": "" if noise else "the data set has no background noise",
        "running audio": "" if running else "no running speech without keywords to judge with: see --speech-evaluation",
        "parity": "" if network else "no checkpoint was given",
        "synthetic voices": no_voices,
    }
    evaluation = {
        **clips.figures(probabilities, targets, labels, names),
        "model_version": model.info.version,
        "calibration": calibration | {"at_bound": at_bound(temperature)},
        "operating": clips.operating_point(model, corpus, probabilities, targets),
        "robustness": robustness.measure(model, waveforms, targets, said, noise) | {"voices": voices},
        "running_audio": running,
        "negatives": running_audio.alarms(model, corpus.speech.negatives),
        "parity": measure_parity(model, network, temperature, waveforms) if network else None,
        "test_clips_digest": clips.digest(names, waveforms),
        "data_digest": corpus.digest,
        "clips": {name: _counts(corpus, name) for name in corpus.splits},
        "data": {
            "source": dataset.name,
            **{name: getattr(dataset, name) for name in about},
            "leaks": check.leaks(dataset),
            "speech": {"source": corpus.speech.source, "evaluation": corpus.speech.evaluation},
            "notes": [*dataset.notes, *corpus.speech.notes],
        },
        "not_measured": {what: why for what, why in missing.items() if why},
    }
    evaluation["caveats"] = caveats(evaluation)
    _tell(evaluation)
    return evaluation


def caveats(evaluation: dict[str, Any]) -> list[str]:
    """What a reader must know before the figures: a sentence each, true of this model and these data."""
    data, labels, calibration = (evaluation[name] for name in ("data", "labels", "calibration"))
    leaks, unknown_speakers = data["leaks"], not data["speakers_known"]
    examples = f" ({', '.join(map(str, leaks['examples'][:3]))})" if leaks["examples"] else ""
    leak = f"{leaks['speakers']} speakers and {leaks['recordings']} recordings are in two splits{examples}"
    told = {
        f"Leak: {leak}: the test figures are too good.": leaks["speakers"] or leaks["recordings"],
        "Speakers are not known: the same voice may be in training and test, so the test figures do not hold for new "
        "voices. Ways out: a folder for each speaker, `--speaker-pattern`, or lists of the splits.": unknown_speakers,
        "It was trained without other words, so it takes any word for one of its keywords.": UNKNOWN not in labels,
        "It was trained without background noise, so it may take noise for a keyword.": SILENCE not in labels,
        "The voices are synthetic: the figures say nothing of people's speech.": data["synthetic"],
        "The running speech is spoken by espeak-ng: figures of listening say nothing of people's speech. `--speech` "
        "takes recordings.": data["speech"]["source"] == SPOKEN and not data["synthetic"],
        "It has heard no running speech, so it is not to be left listening.": data["speech"]["source"] == NONE,
        "The licence of the data is not stated; `--licence` says it.": not data["licence"],
        f"The temperature {calibration['temperature']:.3f} is at the end of its search: the probabilities mean "
        "little.": calibration["at_bound"],
    }
    return [*(sentence for sentence, holds in told.items() if holds), *data["notes"]]


def compared(evaluation: dict[str, Any]) -> dict[str, float]:
    """The figures by which models are compared, as the table of ``dagger call sweep`` names them."""
    operating, running = evaluation["operating"], evaluation["running_audio"]
    missed = running["misses_at"] if running else {}
    voices = evaluation["robustness"]["voices"]
    found = {
        "keywords accepted": operating["recall"]["share"],
        **{f"{kind} taken": found["share"] for kind, found in operating["false_accepts"].items()},
        **{f"missed at {rate}": share for rate, share in missed.items()},
        "calibration error": evaluation["calibration"]["ece"],
        **({"synthetic voices": voices["share"]} if voices else {}),
    }
    return {name: round(share, 4) for name, share in found.items()}


def _counts(corpus: Corpus, name: str) -> dict[str, int]:
    """Clips of each class in a split, and of how many different words its ``_unknown_`` are."""
    classes = corpus.classes(name)
    words = {clip.word for clip, label in zip(corpus.splits[name].clips, classes, strict=True) if label == UNKNOWN}
    return {**{label: classes.count(label) for label in corpus.labels}, "unknown words": len(words)}


def _voices(model: Model, corpus: Corpus, settings: Settings) -> tuple[dict[str, Any] | None, str]:
    """Keywords spoken by espeak-ng: voices of another kind, which are another test, not a disturbance of this one.

    None, and why, where espeak-ng cannot speak them, or the model was trained on such voices.
    """
    if corpus.dataset.synthetic:
        return None, "the data set has such voices itself"
    labels, threads = tuple(filter(is_keyword, model.info.labels)), settings.threads
    try:
        voices = open_dataset(Settings("synthetic", labels, synthetic_size=VOICES_PER_WORD, threads=threads))
    except UserError as error:
        return None, str(error)
    spoken = [clip for clip in voices.clips if clip.word in labels]
    waveforms, _ = read_clips(voices.root, [clip.name for clip in spoken])
    targets = np.array([model.info.labels.index(clip.word) for clip in spoken])
    return clips.share(model(waveforms.numpy()).argmax(axis=1) == targets), ""


def _tell(evaluation: dict[str, Any]) -> None:
    right, (low, high) = evaluation["accuracy"], evaluation["accuracy_interval_95"]
    log.info("test accuracy %.2f %% (95 %% interval %.1f to %.1f %%)", *(100 * share for share in (right, low, high)))
    operating = evaluation["operating"]
    taken = ", ".join(f"{kind} {100 * share['share']:.1f} %" for kind, share in operating["false_accepts"].items())
    said = "at the threshold %.3f: keyword recall %.1f %%, taken for a keyword: %s"
    log.info(said, operating["threshold"], 100 * operating["recall"]["share"], taken)
    for line in evaluation["caveats"]:
        log.warning("%s", line)
