"""The stage ``train``: data set in, artefacts out."""

import logging
from pathlib import Path
from typing import Any

import torch

from model import console, dataset, training
from model.data.layout import EVERY_WORD, require_clips, scan
from model.data.source import Source
from model.deliver import deliver
from model.settings import Settings

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
    with console.bar("reading (clips)", quiet=True) as show:
        corpus = dataset.load(layout, settings, show)
    _log_data(source, layout.split_rule, corpus)

    trained = training.train(settings, corpus, progress)
    best, parameters = trained.best, sum(p.numel() for p in trained.network.parameters())
    log.info("kept epoch %d: validation accuracy %.2f %%, loss %.4f", best.epoch, 100 * best.val_acc, best.val_loss)
    log.info(
        "trained %s parameters in %.1f s (%.0f clips/s)",
        *(f"{parameters:,}", trained.seconds, trained.samples / trained.seconds),
    )
    return deliver(folder, source, layout, settings, corpus, trained)


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
