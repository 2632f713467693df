"""From a trained network to the artefacts: calibrated, exported, its thresholds chosen, judged, and described."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from model import (
    artefacts,
    audio,
    calibration,
    card,
    examine,
    export,
    features,
    files,
    inference,
    operating,
    report,
    streaming,
    training,
)
from model import check as checking
from model.data.layout import Layout
from model.data.source import Source
from model.dataset import Corpus
from model.detection import Rule
from model.intervals import share
from model.provenance import revision, versions
from model.settings import CLIP_SAMPLES, SAMPLE_RATE, Settings
from model.training import Trained

log = logging.getLogger(__name__)


def deliver(
    folder: Path, source: Source, layout: Layout, settings: Settings, corpus: Corpus, trained: Trained
) -> dict[str, Any]:
    """Write every artefact but ``train.log`` into ``folder``; the content of ``evaluation.json``.

    What is chosen (temperature, thresholds) is chosen on the validation split; the test split is read once, after that.

    Raises:
        ParityError: the exported model does not compute what the trained one does.
    """
    network = trained.network.cpu()
    waveforms, targets = corpus.waveforms("validation"), corpus.splits["validation"].targets.numpy()
    logits = training.predict(network, features.mel_power(torch.from_numpy(waveforms))).numpy()
    temperature = calibration.fit_temperature(logits, targets)
    config = {
        **settings.to_dict(),
        "front_end": features.FRONT_END,
        "data_digest": corpus.digest,
        "temperature": temperature,
    }
    checkpoint = export.Checkpoint(network, config, corpus.labels)
    identity = {
        "labels": json.dumps(corpus.labels),
        "sample_rate": str(SAMPLE_RATE),
        "clip_samples": str(CLIP_SAMPLES),
        "model_version": export.model_version(network),
        "weights_sha256": export.weights_sha256(network),
        "revision": revision(),
        "data_digest": corpus.digest,
        "licence": source.licence,
        "attribution": source.attribution,
        "temperature": repr(temperature),
        "unseen_words": json.dumps(corpus.unseen_words),
    }
    exported = export.export_onnx(network, identity, temperature)
    model = inference.load(exported, artefacts.ONNX, settings.threads)
    heard = model(waveforms)
    threshold = operating.choose_threshold(heard, targets, model.labels)
    log.info("calibrated with the temperature %.3f; threshold %.3f (validation)", temperature, threshold)

    mute = examine.no_voices(source)
    rule, hours = Rule(), settings.stream_hours
    if hours:
        log.info("choosing the rule for running audio on the validation split")
        sources = streaming.sources_of(corpus, "validation", sentences=not mute)
        rule = streaming.search(model, model.labels, sources, hours)

    evaluation = examine.examine(model, corpus, threshold, rule, hours, checkpoint=checkpoint, no_voices=mute)
    export.check_parity(export.Parity(**evaluation["parity"]))
    chosen = {
        "threshold": f"{threshold:.3f}",
        "detection": rule.to_json(),
        "metrics": json.dumps(examine.headline(evaluation)),
    }
    exported = export.with_metadata(exported, {**identity, **chosen})
    log.info(
        "exported %.2f MB ONNX, largest difference to PyTorch %.1e",
        len(exported) / 1e6,
        evaluation["parity"]["max_difference"],
    )
    metrics = _metrics(settings, corpus, trained, source, layout)
    metrics["onnx"] = {
        "size_bytes": len(exported),
        "parity_max_difference": evaluation["parity"]["max_difference"],
        "parity_clips": evaluation["parity"]["clips"],
    }
    keyword = operating.is_keyword(model.labels)[targets]
    metrics["validation"] = {
        "temperature": temperature,
        "threshold": threshold,
        "detection": asdict(rule),
        "recall": share(operating.recalled(heard, targets, model.labels, threshold)),
        "false_accepts": share(operating.accepted(heard[~keyword], model.labels, threshold)),
        "ece": calibration.reliability(heard, targets)["ece"],
    }
    (folder / artefacts.CHECKPOINT).write_bytes(checkpoint.to_bytes())
    (folder / artefacts.ONNX).write_bytes(exported)
    files.write_json(folder / artefacts.METRICS, metrics)
    files.write_json(folder / artefacts.EVALUATION, evaluation)
    report.write(folder, evaluation, metrics)
    (folder / artefacts.CARD).write_text(card.render(evaluation, metrics), encoding="utf-8")
    return evaluation


def _metrics(settings: Settings, corpus: Corpus, trained: Trained, source: Source, layout: Layout) -> dict[str, Any]:
    """``train_metrics.json``: how the training went, and on what."""
    best = trained.best
    return {
        "epochs": settings.epochs,
        "best_epoch": best.epoch,
        "best_val_loss": best.val_loss,
        "best_val_acc": best.val_acc,
        "last_val_acc": trained.history[-1].val_acc,
        "training_time_sec": trained.seconds,
        "samples_per_sec": trained.samples / trained.seconds,
        "time_shares": {name: part / trained.seconds for name, part in trained.seconds_by_part.items()},
        "parameters": sum(p.numel() for p in trained.network.parameters()),
        "model_version": export.model_version(trained.network),
        "seed": settings.seed,
        "revision": revision(),
        "settings": settings.to_dict(),
        "front_end": features.FRONT_END,
        "versions": versions(),
        "data": {
            "source": source.name,
            "digest": corpus.digest,
            "licence": source.licence,
            "attribution": source.attribution,
            "split_rule": layout.split_rule,
            "silent_dbfs": audio.SILENT_DBFS,
            "splits": {name: split.audit.to_dict() for name, split in corpus.splits.items()},
            "noise": corpus.noise_audit.to_dict(),
            "labels": list(corpus.labels),
            "unseen_words": list(corpus.unseen_words),
            "clips": {
                name: {label: int((split.targets == index).sum()) for index, label in enumerate(corpus.labels)}
                for name, split in corpus.splits.items()
            },
            "check": checking.cached(layout, source, settings.labels, corpus.digest),
        },
        "history": trained.history_dicts(),
    }
