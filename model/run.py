"""The stage ``train``: a data set in, the artefacts out. ``evaluate`` judges by the same evaluation."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import torch

from kws.audio import SAMPLE_RATE
from kws.detection import UNKNOWN
from kws.model_file import Model
from model import calibration, corpus, export, features, files, report, train
from model.console import log
from model.data.layout import SPLITS
from model.data.source import open_dataset, require_clips
from model.errors import UserError
from model.evaluation import compared, evaluate, running_audio
from model.provenance import revision, versions
from model.settings import CLIP_SAMPLES, Settings

CHECKPOINT, ONNX, LOG, CONFIG = "best_model.pth", "model.onnx", "train.log", "config.json"
METRICS, EVALUATION = "train_metrics.json", "evaluation.json"
ARTEFACTS = {CHECKPOINT, ONNX, LOG, CONFIG, METRICS, EVALUATION, "report.md", "model_card.md", "plots"}


def run(settings: Settings, folder: Path, state: Path, resume: bool) -> None:
    """Train, choose on the validation split, test once, and write every artefact but ``train.log`` into ``folder``.

    ``state`` and ``resume`` are of ``train.train``. Raises UserError: data or state do not fit; ParityError.
    """
    data = _read(settings, SPLITS)
    trained = train.train(settings, data, state, resume)
    for split in data.splits.values():
        split.stored.release()
    network, earlier, best = trained.network, trained.before, trained.best
    parameters = sum(each.numel() for each in network.parameters())
    log.info("trained %s parameters in %.1f s; kept epoch %d", f"{parameters:,}", trained.seconds, best.epoch)
    origin = {"settings": asdict(settings), "versions": versions(), "revision": revision()}
    files.write_json(folder / CONFIG, {**origin, "data_digest": data.digest})

    waveforms, targets = data.waveforms("validation"), data.splits["validation"].targets.numpy()
    logits = train.predict(network, features.mel_power(torch.from_numpy(waveforms))).numpy()
    temperature, bias, _ = calibration.calibrate(logits, targets, data.labels)
    log.info("calibrated on validation: temperature %.3f, %.2f off the logits of %s", temperature, bias, UNKNOWN)
    with torch.no_grad():
        for each in filter(None, (network, earlier) if UNKNOWN in data.labels else ()):
            each.classifier.bias[data.labels.index(UNKNOWN)] -= bias

    decided = {"labels": json.dumps(data.labels), "temperature": repr(temperature)}
    metadata = {
        "sample_rate": str(SAMPLE_RATE),
        "clip_samples": str(CLIP_SAMPLES),
        "model_version": "under way",
        "weights_sha256": export.weights_sha256(network),
        "revision": revision(),
        "data_digest": data.digest,
        "licence": data.dataset.licence or "not stated",
        "attribution": data.dataset.attribution,
    }
    graph = export.export_onnx(network, temperature)

    def so_far(graph: bytes = graph) -> Model:
        return Model(export.with_metadata(graph, metadata | decided), ONNX)

    threshold = calibration.choose_threshold(so_far()(waveforms), targets, data.labels)
    decided["threshold"] = f"{threshold:.3f}"
    rule, sensitivities = running_audio.choose_rule(so_far(), data, settings.false_accepts_per_hour)
    decided |= {"detection": json.dumps(asdict(rule)), "sensitivities": json.dumps(sensitivities)}
    metadata["model_version"] = export.model_version(network, decided)
    log.info("threshold %.3f (validation); model version %s", threshold, metadata["model_version"])

    evaluation = evaluate(so_far(), data, settings, network)
    export.check_parity(evaluation["parity"])
    if earlier:
        before = running_audio.alarms(so_far(export.export_onnx(earlier, temperature)), data.speech.negatives)
        for then, now in zip(before, evaluation["negatives"], strict=True):
            now["before"] = then["alarms"]
    test, running = compared(evaluation), evaluation["running_audio"]
    left_listening = running and {name: running[name] for name in ("hours", "operating")}
    metadata["metrics"] = json.dumps({**test, "accuracy": evaluation["accuracy"], "running_audio": left_listening})
    exported = export.with_metadata(graph, metadata | decided)
    metrics = {
        "epochs": settings.epochs,
        "best_epoch": best.epoch,
        "best_val_loss": best.val_loss,
        "best_val_acc": best.val_acc,
        "last_val_acc": trained.history[-1].val_acc,
        "training_time_sec": trained.seconds,
        "peak_memory_mb": getrusage(RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10),
        "model_version": metadata["model_version"],
        "parameters": parameters,
        "size_bytes": len(exported),
        **origin,
        "test": test,
        "read": {name: split.audit.to_dict() for name, split in data.splits.items()},
        "history": [epoch._asdict() for epoch in trained.history],
    }
    config = {**asdict(settings), "front_end": features.FRONT_END, "temperature": temperature}
    checkpoint = {"weights": network.state_dict(), "labels": list(data.labels), "config": config}
    files.write_saved(folder / CHECKPOINT, lambda file: torch.save(checkpoint, file))
    (folder / ONNX).write_bytes(exported)
    files.write_json(folder / METRICS, metrics)
    files.write_json(folder / EVALUATION, evaluation)
    report.write(folder, evaluation, metrics)


def judge(model: Model, settings: Settings, folder: Path, checkpoint: Path | None) -> None:
    """Evaluate a model on a data set: ``evaluation.json``, ``report.md`` and plots into ``folder``."""
    network = export.load_checkpoint(checkpoint)[0] if checkpoint else None
    if network and export.weights_sha256(network) != model.info.metadata.get("weights_sha256"):
        raise UserError(f"checkpoint '{checkpoint}' is not what the model was made of; put its own there, or none")
    data = _read(settings, ("testing",))
    evaluation = evaluate(model, data, settings, network)
    files.write_json(folder / EVALUATION, evaluation)
    report.write(folder, evaluation)


def _read(settings: Settings, splits: Sequence[str]) -> corpus.Corpus:
    """The data set that the settings name, as a run sees it, with clips in its ``splits``; what was found is logged."""
    dataset = open_dataset(settings)
    if dataset.test_only and "training" in splits:
        why = "figures of a model that was trained on it say nothing beside others'"
        remedy = "train on speech-commands, and give it to evaluate"
        raise UserError(f"data set '{dataset.name}' is a test set: {why}; {remedy}")
    log.info("words to tell apart: %s", ", ".join(dataset.labels))
    require_clips(dataset, splits)
    data = corpus.load(dataset, settings)
    log.info("data set %s, split by %s, digest %s", dataset.name, dataset.split_rule, data.digest[:12])
    audits = {name: split.audit for name, split in data.splits.items()}
    for name, audit in (audits | {"noise": data.noise_audit}).items():
        found = {what: len(audit.named(what)) for what in ("padded", "cut", "silent", "broken")}
        log.info("%s: %d read, %s", name, len(audit), ", ".join(f"{count} {what}" for what, count in found.items()))
        for clip in audit.named("broken"):
            log.warning("broken, left out: %s (%s)", clip, audit[clip].broken)
    return data
