"""The stage ``train``: data set in, artefacts out."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from model import artefacts, config, console, dataset, files, training
from model.data.layout import EVERY_WORD, require_clips, scan
from model.data.source import Source
from model.deliver import deliver
from model.errors import UserError
from model.processes import joined
from model.provenance import revision, versions
from model.resume import Keeper, identity_of
from model.settings import Settings

log = logging.getLogger(__name__)


def train_into(
    folder: Path | None,
    source: Source,
    settings: Settings,
    progress: training.OnEpoch,
    state: Path,
    resume: bool = False,
    options: dict[str, Any] | None = None,
    check_data: Callable[[str], None] = lambda _: None,
) -> None:
    """Train on ``source`` and write every artefact but ``train.log`` into ``folder``; None in all processes but one.

    ``state`` is the folder for what another process needs to go on after a kill; with ``resume`` this one does.
    ``options`` are those that led to ``source``, for ``config.json``; ``check_data`` is told the data's digest.

    Raises:
        UserError: the data set lacks what the settings ask for, or the state is of another run.
        ParityError: the exported model does not compute what the trained one does.
    """
    layout = scan(source.root, settings.labels if settings.only_keywords else (*settings.labels, EVERY_WORD))
    require_clips(layout, settings.labels, source.name)
    torch.set_num_threads(1)
    with console.bar("reading (clips)") as show:
        corpus = dataset.load(layout, settings, show)
    _log_data(source, layout.split_rule, corpus)
    check_data(corpus.digest)

    with joined() as processes:
        if corpus.digest != processes.from_first(corpus.digest):
            raise UserError(
                f"process {processes.rank} of torchrun reads another data set than process 0; give all the same"
            )
        log.info("training on %s, %d process%s", processes.device, processes.count, "es" * (processes.count > 1))
        keeper = Keeper(state, identity_of(settings.to_dict(), corpus.digest, processes.count, processes.device.type))
        trained = training.train(settings, corpus, progress, processes, keeper, resume)
    for split in corpus.splits.values():
        split.stored.release()
    if folder is None:
        return
    best, parameters = trained.best, sum(p.numel() for p in trained.network.parameters())
    log.info("kept epoch %d: validation accuracy %.2f %%, loss %.4f", best.epoch, 100 * best.val_acc, best.val_loss)
    log.info(
        "trained %s parameters in %.1f s (%.0f clips/s)",
        *(f"{parameters:,}", trained.seconds, trained.samples / trained.seconds),
    )
    told = config.content(options or {}, settings, corpus.digest, versions(), revision(), processes.count)
    files.write_json(folder / artefacts.CONFIG, told)
    deliver(folder, source, layout, settings, corpus, trained)


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
