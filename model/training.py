"""The training loop: one-cycle AdamW on augmented batches, averaged weights, the best validation epoch kept."""

import copy
import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from model.augment import Augmenter, mixup
from model.dataset import Corpus, Split
from model.errors import UserError
from model.features import log_mel
from model.network import TCResNet8
from model.processes import Processes
from model.replicas import Pass, Replicas, gradients
from model.resume import Keeper
from model.sampling import NO_CLIP, Sampler
from model.settings import SILENCE, Settings

log = logging.getLogger(__name__)

ALONE = Processes()
_STEPS_MAPPED = 100
_VALIDATED = 128  # clips at once


@dataclass(frozen=True)
class Epoch:
    """One line of the history; losses are mean cross-entropies, accuracies shares of 1."""

    epoch: int
    train_loss: float
    train_acc: float
    val_loss: float
    val_acc: float


OnEpoch = Callable[[Epoch, bool], None]


@dataclass
class Trained:
    """What training leaves: the network with the best epoch's weights, the history, and where the time went."""

    network: TCResNet8
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    samples: int = 0  # clips seen, over all epochs
    seconds: float = 0.0
    seconds_by_part: dict[str, float] = field(default_factory=lambda: {"augment": 0.0, "network": 0.0, "validate": 0.0})

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.history[self.best_epoch - 1]

    def history_dicts(self) -> list[dict[str, float]]:
        """The history as plain JSON values."""
        return [asdict(epoch) for epoch in self.history]


@torch.inference_mode()
def predict(network: nn.Module, power: Tensor, batch_size: int = 512) -> Tensor:
    """Logits ``float32[clips, classes]`` for mel power ``[clips, bands, frames]``."""
    network.eval()
    device = next(network.parameters()).device
    return torch.cat([network(log_mel(part.to(device))).cpu() for part in power.split(batch_size)])


def score(network: nn.Module, split: Split, run: Callable[..., Iterable[Tensor]] = map) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over a split; ``run`` may map its parts in threads."""
    parts = torch.arange(len(split)).split(_VALIDATED)
    logits = torch.cat(list(run(lambda rows: predict(network, split.power(rows)), parts)))
    accuracy = (logits.argmax(1) == split.targets).double().mean()
    return float(F.cross_entropy(logits, split.targets)), float(accuracy)


def make_batch(
    data: Split, rows: Tensor, labels: tuple[str, ...], augment: Augmenter, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The mel power ``[batch, bands, frames]`` and one-hot targets ``[batch, classes]`` of a sampler's rows.

    On the device of ``generator``; ``rows`` and the data are on the CPU.
    """
    device = generator.device
    copies = torch.randint(0, data.copies, (len(rows),), generator=generator, device=device).cpu()
    silent = (rows == NO_CLIP).nonzero().flatten()
    power = data.power(rows.clamp(min=0), copies).to(device)
    targets = data.targets[rows.clamp(min=0)]
    if len(silent):
        power[silent.to(device)] = augment.silence(len(silent), generator)
        targets = targets.index_fill(0, silent, labels.index(SILENCE))
    return power, F.one_hot(targets, len(labels)).float().to(device)


def train(
    settings: Settings,
    corpus: Corpus,
    on_epoch: OnEpoch = lambda *_: None,
    processes: Processes = ALONE,
    keeper: Keeper | None = None,
    resume: bool = False,
) -> Trained:
    """Train on ``corpus.splits["training"]``, keep the epoch with the least loss on ``["validation"]``; no test split.

    Not the one with the highest accuracy: on a few hundred clips that is as often an early one that was lucky.

    The weights that are validated and kept are an exponential moving average over the steps. ``on_epoch`` is told
    each epoch and whether it is the best so far. The same settings, corpus and number of processes give the same
    weights, bit for bit, on one machine, with any number of threads, in one go or resumed from what ``keeper`` kept:
    all that is random in an epoch follows from the seed and the epoch's number.

    Of several processes each takes its part of every batch, and the first has the history and the kept weights.

    Raises:
        UserError: the loss ran away; what was kept is of another run.
    """
    torch.set_num_threads(1)  # the replicas have the threads
    torch.use_deterministic_algorithms(True, warn_only=processes.device.type == "mps")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it
    torch.manual_seed(settings.seed)  # initial weights
    loop = _Loop(settings, corpus, processes)
    state = keeper.load() if keeper and resume and processes.rank == 0 else None
    if (state := processes.from_first(state)) is not None:
        loop.load_state(state)
        log.info("going on after epoch %d", loop.epochs_done)
    with loop.replicas.at_work():
        _run(loop, settings, corpus, on_epoch, processes, keeper)
    loop.trained.network.eval()
    return loop.trained


def _run(
    loop: "_Loop", settings: Settings, corpus: Corpus, on_epoch: OnEpoch, processes: Processes, keeper: Keeper | None
) -> None:
    trained = loop.trained
    while loop.epochs_done < settings.epochs:
        started = time.perf_counter()
        train_loss, train_acc = loop.run_epoch()
        if processes.rank > 0:
            continue
        clock = time.perf_counter()
        val_loss, val_acc = score(loop.average.module, corpus.splits["validation"], loop.replicas.map)
        trained.seconds_by_part["validate"] += time.perf_counter() - clock
        epoch = Epoch(loop.epochs_done, train_loss, train_acc, val_loss, val_acc)
        trained.history.append(epoch)
        if best := trained.best_epoch == 0 or epoch.val_loss < trained.best.val_loss:
            trained.best_epoch = epoch.epoch
            trained.network.load_state_dict(loop.average.module.state_dict())
        trained.seconds += time.perf_counter() - started
        on_epoch(epoch, best)
        if keeper:
            keeper.save(loop.state())


class _Loop:
    """What changes from epoch to epoch."""

    def __init__(self, settings: Settings, corpus: Corpus, processes: Processes) -> None:
        self._settings, self._processes, self._labels = settings, processes, corpus.labels
        self._data = corpus.splits["training"]
        self._sampler = Sampler(self._data, corpus.labels, settings)
        self._augment = Augmenter(
            corpus.noise.to(processes.device), settings.noise_probability, settings.band_probability, settings.max_shift
        )
        network = TCResNet8(len(corpus.labels), width=settings.width, dropout=settings.dropout)
        self.trained = Trained(copy.deepcopy(network))
        self._network = network.to(processes.device)
        self.replicas = Replicas(self._network, settings.threads)
        ema = get_ema_multi_avg_fn(settings.ema_decay)
        self.average = AveragedModel(self._network, multi_avg_fn=ema, use_buffers=True)
        self._optimizer = torch.optim.AdamW(self._network.parameters(), weight_decay=settings.weight_decay, fused=True)
        steps = math.ceil(len(self._sampler) / settings.batch_size)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, settings.learning_rate, total_steps=settings.epochs * steps, pct_start=settings.warmup
        )
        self.epochs_done = 0

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on, as tensors and plain values."""
        trained = {
            field.name: getattr(self.trained, field.name) for field in fields(Trained) if field.name != "network"
        }
        return {
            "epochs_done": self.epochs_done,
            "parts": {name: part.state_dict() for name, part in self._parts().items()},
            "trained": {**trained, "history": self.trained.history_dicts()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Be where another loop was when it gave its ``state``."""
        self.epochs_done = state["epochs_done"]
        for name, part in self._parts().items():
            part.load_state_dict(state["parts"][name])
        for name, value in state["trained"].items():
            setattr(self.trained, name, value)
        self.trained.history = [Epoch(**epoch) for epoch in state["trained"]["history"]]

    def run_epoch(self) -> tuple[float, float]:
        """One pass over the sampler's clips: the mean loss and the accuracy, over all processes."""
        number = self.epochs_done + 1
        rank, seed = self._processes.rank, self._settings.seed
        order = torch.Generator().manual_seed(_seed(seed, number))  # the same in all processes
        self.replicas.begin_epoch(lambda part: _seed(seed, number, rank, part))
        passes, sizes = [], []
        for step, whole_batch in enumerate(self._sampler.epoch(order).split(self._settings.batch_size)):
            if step % _STEPS_MAPPED == 0:
                self._data.stored.release()  # else a large data set's features all end up in this process's memory
            rows = self._processes.share_of(whole_batch)
            clock = time.perf_counter()
            passed = self._step(rows)
            self._count(passed, time.perf_counter() - clock)
            passes.append(passed)
            sizes.append(len(rows))
        sums = [torch.stack([getattr(passed, name) for passed in passes]).sum() for name in ("loss", "hits")]
        loss_sum, correct, samples = self._processes.sum([*map(float, sums), float(sum(sizes))])
        self.trained.samples += int(samples)
        self.epochs_done = number
        if not math.isfinite(loss_sum):
            raise UserError(f"training diverged in epoch {number} (loss {loss_sum}); lower --learning-rate")
        return loss_sum / samples, correct / samples

    def _step(self, rows: Tensor) -> Pass:
        passed = self.replicas.backward(rows, self._make_batch, self._settings.label_smoothing)
        self._processes.average(gradients(self._network) + self.replicas.statistics())
        self._optimizer.step()
        self._schedule.step()
        self.average.update_parameters(self._network)
        return passed

    def _make_batch(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        power, targets = make_batch(self._data, rows, self._labels, self._augment, generator)
        return mixup(self._augment(power, generator), targets, self._settings.mixup, generator)

    def _count(self, passed: Pass, seconds: float) -> None:
        share = passed.augment_seconds / (passed.augment_seconds + passed.network_seconds)
        self.trained.seconds_by_part["augment"] += share * seconds
        self.trained.seconds_by_part["network"] += (1 - share) * seconds

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self._network,
            "average": self.average,
            "kept": self.trained.network,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
        }


def _seed(*parts: int | str) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8]) >> 1
