"""The stage ``train``: a data set in, the artefacts out. ``evaluate`` judges by the same evaluation."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from kws.audio import SAMPLE_RATE, SILENT_DBFS
from kws.detection import UNKNOWN
from kws.model_file import Model
from model import calibration, console, corpus, export, features, files, parallel, report, train
from model.data.layout import SPLITS
from model.data.source import open_dataset, require_clips
from model.errors import UserError
from model.evaluation import evaluate, headline, running_audio
from model.provenance import revision, versions
from model.settings import CLIP_SAMPLES, Settings

log = logging.getLogger(__name__)

CHECKPOINT, ONNX, LOG, CONFIG = "best_model.pth", "model.onnx", "train.log", "config.json"
METRICS, EVALUATION = "train_metrics.json", "evaluation.json"
ARTEFACTS = {CHECKPOINT, ONNX, LOG, CONFIG, METRICS, EVALUATION, "report.md", "model_card.md", "plots"}


def run(
    settings: Settings,
    folder: Path | None,
    state: Path | None = None,
    resume: bool = False,
    former: Mapping[str, Any] | None = None,
) -> None:
    """Train, choose on the validation split, test once, and write every artefact but ``train.log`` into ``folder``.

    ``folder`` is empty, and None in all processes of ``torchrun`` but the first. ``state`` is a folder for what another
    process needs to go on after a kill, with ``resume``. ``former`` is the ``config.json`` that is repeated, if one is:
    its data must be these. Raises UserError where data or state do not fit the settings, and ParityError.
    """
    data = _read(settings, SPLITS)
    if former and former["settings"]["dataset"] == settings.dataset and former["data_digest"] != data.digest:
        raise UserError(
            f"the data set has the digest {data.digest}, but that of --config is {former['data_digest']}; restore its "
            "data, or give another --dataset to train on others"
        )
    for name, here in versions().items():
        if former and former["versions"].get(name) != here:
            log.warning("%s is %s here and was %s: weights may differ", name, here, former["versions"].get(name))
    with parallel.joined() as device, console.bar("training (epochs)", quiet=True) as show:
        processes = dist.get_world_size() if dist.is_initialized() else 1
        log.info("training on %s, %d process%s", device, processes, "es" * (processes > 1))

        def on_epoch(epoch: train.Epoch, best: bool) -> None:
            log.info(
                "epoch %3d/%d  train loss %.4f acc %.4f  val loss %.4f acc %.4f%s",
                *(epoch.epoch, settings.epochs, epoch.train_loss, epoch.train_acc, epoch.val_loss, epoch.val_acc),
                "  *" if best else "",
            )
            show(epoch.epoch, settings.epochs)

        trained = train.train(settings, data, on_epoch, state, resume, device)
    for split in data.splits.values():
        split.stored.release()
    if folder is None:
        return
    best, network, speed = trained.best, trained.network.cpu(), trained.clips / trained.seconds
    parameters = sum(each.numel() for each in network.parameters())
    log.info("kept epoch %d: validation accuracy %.2f %%, loss %.4f", best.epoch, 100 * best.val_acc, best.val_loss)
    log.info("trained %s parameters in %.1f s (%.0f clips/s)", f"{parameters:,}", trained.seconds, speed)
    origin = {"settings": settings.to_dict(), "versions": versions(), "revision": revision()}
    files.write_json(folder / CONFIG, {**origin, "data_digest": data.digest, "processes": processes})

    waveforms, targets = data.waveforms("validation"), data.splits["validation"].targets.numpy()
    logits = train.predict(network, features.mel_power(torch.from_numpy(waveforms))).numpy()
    temperature, bias, _ = calibration.calibrate(logits, targets, data.labels)
    log.info("calibrated on validation: temperature %.3f, %.2f off the logits of %s", temperature, bias, UNKNOWN)
    if calibration.at_bound(temperature):
        log.warning("the temperature is at the end of its search: the probabilities mean little")
    earlier = trained.before.cpu()
    if UNKNOWN in data.labels:
        with torch.no_grad():
            for each in (network, earlier):
                each.classifier.bias[data.labels.index(UNKNOWN)] -= bias
    decided = {"labels": json.dumps(data.labels), "temperature": repr(temperature)}
    metadata = {
        "sample_rate": str(SAMPLE_RATE),
        "clip_samples": str(CLIP_SAMPLES),
        "model_version": "under way",
        "weights_sha256": export.weights_sha256(network),
        "revision": revision(),
        "data_digest": data.digest,
        "licence": data.dataset.licence,
        "attribution": data.dataset.attribution,
        "unseen_words": json.dumps(data.unseen_words),
    }
    graph = export.export_onnx(network, metadata | decided, temperature)
    heard = Model(graph, ONNX)(waveforms)
    threshold = calibration.choose_threshold(heard, targets, data.labels)
    decided["threshold"] = f"{threshold:.3f}"
    so_far = Model(export.with_metadata(graph, metadata | decided), ONNX)
    rule, sensitivities = running_audio.choose_rule(so_far, data, settings.false_accepts_per_hour)
    decided |= {"detection": rule.to_json(), "sensitivities": json.dumps(sensitivities)}
    metadata |= decided | {"model_version": export.model_version(network, decided)}
    model = Model(export.with_metadata(graph, metadata), ONNX)
    log.info("threshold %.3f (validation); model version %s", threshold, model.info.version)

    evaluation = evaluate(model, data, settings, network)
    if data.speech.negatives:
        graph_before = export.export_onnx(earlier, metadata, temperature)
        before = running_audio.alarms(Model(graph_before, ONNX), data.speech.negatives)
        for then, now in zip(before, evaluation["negatives"], strict=True):
            now["before"] = then["alarms"] if trained.without_negatives else None
    parity = evaluation["parity"]
    export.check_parity(parity)
    exported = export.with_metadata(graph, {**metadata, "metrics": json.dumps(headline(evaluation))})
    config = {**settings.to_dict(), "front_end": features.FRONT_END, "data_digest": data.digest}
    checkpoint = export.Checkpoint(network, data.labels, {**config, "temperature": temperature})
    metrics = {
        "epochs": settings.epochs,
        "best_epoch": best.epoch,
        "best_val_loss": best.val_loss,
        "best_val_acc": best.val_acc,
        "last_val_acc": trained.history[-1].val_acc,
        "training_time_sec": trained.seconds,
        "samples_per_sec": speed,
        "seed": settings.seed,
        **origin,
        "front_end": features.FRONT_END,
        "data": {
            **{name: evaluation["data"][name] for name in ("source", "licence", "attribution", "split_rule")},
            "digest": data.digest,
            "silent_dbfs": SILENT_DBFS,
            "splits": {name: split.audit.to_dict() for name, split in data.splits.items()},
            "noise": data.noise_audit.to_dict(),
            "labels": list(data.labels),
            "unseen_words": list(data.unseen_words),
        },
        "history": [vars(epoch) for epoch in trained.history],
        "model_version": model.info.version,
        "parameters": parameters,
        "onnx": {
            "size_bytes": len(exported),
            "parity_max_difference": parity["max_difference"],
            "parity_clips": parity["clips"],
        },
        "validation": {
            "temperature": temperature,
            "unknown_bias": bias,
            "threshold": threshold,
            "detection": asdict(rule),
            "ece": calibration.reliability(heard, targets)["ece"],
        },
    }
    (folder / CHECKPOINT).write_bytes(checkpoint.to_bytes())
    (folder / ONNX).write_bytes(exported)
    files.write_json(folder / METRICS, metrics)
    files.write_json(folder / EVALUATION, evaluation)
    report.write(folder, evaluation, metrics)


def judge(model: Model, settings: Settings, folder: Path, checkpoint: Path | None) -> None:
    """Evaluate a model on a data set: ``evaluation.json``, ``report.md`` and plots into ``folder``."""
    weights = export.load_checkpoint(checkpoint) if checkpoint else None
    if weights and export.weights_sha256(weights.network) != model.info.metadata.get("weights_sha256"):
        raise UserError(f"checkpoint '{checkpoint}' is not what the model was exported from; give --checkpoint its own")
    data = _read(settings, ("testing",), tuple(json.loads(model.info.metadata.get("unseen_words", "[]"))))
    evaluation = evaluate(model, data, settings, weights.network if weights else None)
    files.write_json(folder / EVALUATION, evaluation)
    report.write(folder, evaluation)


def _read(settings: Settings, splits: Sequence[str], held_back: tuple[str, ...] = ()) -> corpus.Corpus:
    """The data set that the settings name, as a run sees it, with clips in its ``splits``; what was found is logged.

    ``held_back`` are words that a model has not heard: those that the data set has are, unless others are asked for.
    """
    dataset = open_dataset(settings)
    if dataset.test_only and "training" in splits:
        raise UserError(
            f"data set '{dataset.name}' is a test set: figures of a model that was trained on it say nothing beside "
            "others'; train on speech-commands, and give it to evaluate"
        )
    require_clips(dataset, splits)
    if not settings.unseen_words and held_back:
        there = {clip.word for clip in dataset.clips}
        settings = replace(settings, unseen_words=tuple(word for word in held_back if word in there))
    log.info("words to tell apart: %s", ", ".join(dataset.labels))
    with console.bar("reading (clips)") as show:
        data = corpus.load(dataset, settings, show)
    log.info("data set %s, split by %s, digest %s", dataset.name, dataset.split_rule, data.digest[:12])
    for name, audit in {
        **{name: split.audit for name, split in data.splits.items()},
        "noise": data.noise_audit,
    }.items():
        found = {what: len(audit.named(what)) for what in ("padded", "cut", "silent", "broken")}
        log.info("%s: %d read, %s", name, len(audit), ", ".join(f"{count} {what}" for what, count in found.items()))
        for clip in audit.named("broken"):
            log.warning("broken, left out: %s (%s)", clip, audit[clip].broken)
    return data
