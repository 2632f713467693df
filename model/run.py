"""The stage ``train``: data set in, artefacts out."""

import json
import logging
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from model import artefacts, audio, dataset, export, features, files, report, training
from model.data.layout import EVERY_WORD, require_clips, scan
from model.data.source import Source
from model.evaluation import evaluate
from model.settings import CLIP_SAMPLES, SAMPLE_RATE, Settings

log = logging.getLogger(__name__)


def train_into(folder: Path, source: Source, settings: Settings, progress: training.OnEpoch) -> dict[str, Any]:
    """Train on ``source`` and write every artefact but ``train.log`` into ``folder``.

    Returns:
        The content of ``evaluation.json``.

    Raises:
        UserError: the data set lacks what the settings ask for.
        ParityError: the exported model does not compute what the trained one does.
    """
    layout = scan(source.root, settings.labels if settings.only_keywords else (*settings.labels, EVERY_WORD))
    require_clips(layout, settings.labels, source.name)
    torch.set_num_threads(settings.threads)
    corpus = dataset.load(layout, settings)
    _log_data(source, layout.split_rule, corpus)

    trained = training.train(settings, corpus, progress)
    network, best = trained.network, trained.best
    parameters = sum(p.numel() for p in network.parameters())
    identity = export.model_version(network)
    samples = trained.samples / trained.seconds
    log.info("kept epoch %d: validation accuracy %.2f %%, loss %.4f", best.epoch, 100 * best.val_acc, best.val_loss)
    log.info("trained %s parameters in %.1f s (%.0f clips/s)", f"{parameters:,}", trained.seconds, samples)

    test = corpus.splits["testing"]
    waveforms = torch.from_numpy(corpus.waveforms("testing"))
    logits = training.predict(network, features.mel_power(waveforms))
    evaluation = evaluate(logits, test.targets, corpus.labels, [clip.name for clip in test.clips])
    evaluation["model_version"] = identity
    low, high = evaluation["accuracy_interval_95"]
    log.info(
        "test accuracy %.2f %% (%d of %d, 95 %% interval %.1f to %.1f %%)",
        *(100 * evaluation["accuracy"], evaluation["correct"], evaluation["n"], 100 * low, 100 * high),
    )

    metadata = {
        "labels": json.dumps(corpus.labels),
        "sample_rate": str(SAMPLE_RATE),
        "clip_samples": str(CLIP_SAMPLES),
        "model_version": identity,
        "data_digest": corpus.digest,
        "licence": source.licence,
        "attribution": source.attribution,
    }
    onnx_model = export.export_onnx(network, {key: value for key, value in metadata.items() if value})
    difference = export.check_parity(onnx_model, network, waveforms)
    log.info("exported %.2f MB ONNX, largest difference to PyTorch %.1e", len(onnx_model) / 1e6, difference)

    metrics: dict[str, Any] = {
        "epochs": settings.epochs,
        "best_epoch": best.epoch,
        "best_val_loss": best.val_loss,
        "best_val_acc": best.val_acc,
        "last_val_acc": trained.history[-1].val_acc,
        "training_time_sec": trained.seconds,
        "samples_per_sec": samples,
        "time_shares": {name: part / trained.seconds for name, part in trained.seconds_by_part.items()},
        "parameters": parameters,
        "model_version": identity,
        "seed": settings.seed,
        "settings": settings.to_dict(),
        "front_end": features.FRONT_END,
        "versions": _versions(),
        "data": _data(source, layout.split_rule, corpus),
        "onnx": {"size_bytes": len(onnx_model), "parity_max_difference": difference, "parity_clips": len(test)},
        "history": trained.history_dicts(),
    }
    config = {**settings.to_dict(), "front_end": features.FRONT_END, "data_digest": corpus.digest}
    (folder / artefacts.CHECKPOINT).write_bytes(export.checkpoint(network, config, corpus.labels))
    (folder / artefacts.ONNX).write_bytes(onnx_model)
    files.write_json(folder / artefacts.METRICS, metrics)
    files.write_json(folder / artefacts.EVALUATION, evaluation)
    plots = folder / artefacts.PLOTS
    plots.mkdir()
    report.plot_curves(metrics["history"], best.epoch, plots / artefacts.CURVES)
    report.plot_confusion(evaluation["confusion_matrix"], evaluation["labels"], plots / artefacts.CONFUSION)
    (folder / artefacts.REPORT).write_text(report.render(metrics, evaluation), encoding="utf-8")
    return evaluation


def _versions() -> dict[str, str]:
    packages = ("torch", "torchaudio", "numpy", "onnx", "onnxruntime")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


def _data(source: Source, split_rule: str, corpus: dataset.Corpus) -> dict[str, Any]:
    return {
        "source": source.name,
        "digest": corpus.digest,
        "licence": source.licence,
        "attribution": source.attribution,
        "split_rule": split_rule,
        "silent_dbfs": audio.SILENT_DBFS,
        "splits": {name: split.audit.to_dict() for name, split in corpus.splits.items()},
        "noise": corpus.noise_audit.to_dict(),
        "labels": list(corpus.labels),
        "unseen_words": list(corpus.unseen_words),
        "clips": {
            name: {label: int((split.targets == index).sum()) for index, label in enumerate(corpus.labels)}
            for name, split in corpus.splits.items()
        },
    }


def _log_data(source: Source, split_rule: str, corpus: dataset.Corpus) -> None:
    log.info("data set %s, split by %s, digest %s", source.name, split_rule, corpus.digest[:12])
    audits = {**{name: split.audit for name, split in corpus.splits.items()}, "noise": corpus.noise_audit}
    for name, audit in audits.items():
        log.info(
            "%s: %d read, %d padded, %d cut, %d silent, %d broken",
            *(name, audit.read, len(audit.padded), len(audit.cut), len(audit.silent), len(audit.broken)),
        )
        for clip, why in audit.broken.items():
            log.warning("broken, left out: %s (%s)", clip, why)
