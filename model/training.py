"""The training loop: one-cycle AdamW on augmented batches, averaged weights, the best validation epoch kept."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from model.augment import Augmenter, mixup
from model.dataset import Corpus, Split
from model.errors import UserError
from model.features import log_mel
from model.network import TCResNet8
from model.sampling import NO_CLIP, Sampler
from model.settings import SILENCE, Settings


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
    return torch.cat([network(log_mel(part)) for part in power.split(batch_size)])


def score(network: nn.Module, split: Split) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over a split."""
    logits = torch.cat([predict(network, split.power(rows)) for rows in torch.arange(len(split)).split(512)])
    accuracy = (logits.argmax(1) == split.targets).double().mean()
    return float(F.cross_entropy(logits, split.targets)), float(accuracy)


def make_batch(
    data: Split, rows: Tensor, labels: tuple[str, ...], augment: Augmenter, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The mel power ``[batch, bands, frames]`` and one-hot targets ``[batch, classes]`` of a sampler's rows."""
    copies = torch.randint(0, data.copies, (len(rows),), generator=generator)
    silent = (rows == NO_CLIP).nonzero().flatten()
    power = data.power(rows.clamp(min=0), copies)
    targets = data.targets[rows.clamp(min=0)]
    if len(silent):
        power[silent] = augment.silence(len(silent), generator)
        targets = targets.index_fill(0, silent, labels.index(SILENCE))
    return power, F.one_hot(targets, len(labels)).float()


def train(settings: Settings, corpus: Corpus, on_epoch: OnEpoch = lambda *_: None) -> Trained:
    """Train on ``corpus.splits["training"]``, choose the epoch by ``["validation"]``; the test split is not touched.

    The weights that are validated and kept are an exponential moving average over the steps. ``on_epoch`` is told
    each epoch and whether it is the best so far. The same settings and corpus give the same weights, bit for bit, on
    one machine.

    Raises:
        UserError: the loss ran away.
    """
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(settings.seed)  # initial weights and dropout
    generator = torch.Generator().manual_seed(settings.seed)  # order and augmentation

    data, validation = corpus.splits["training"], corpus.splits["validation"]
    network = TCResNet8(len(corpus.labels), width=settings.width, dropout=settings.dropout)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay)
    sampler = Sampler(data, corpus.labels, settings)
    steps = math.ceil(len(sampler) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * steps, pct_start=settings.warmup
    )
    augment = Augmenter(corpus.noise, settings.noise_probability)
    trained = Trained(copy.deepcopy(network))
    started = time.perf_counter()

    for number in range(1, settings.epochs + 1):
        loss_sum, correct = 0.0, 0
        network.train()
        for rows in sampler.epoch(generator).split(settings.batch_size):
            clock = time.perf_counter()
            power, targets = make_batch(data, rows, corpus.labels, augment, generator)
            features, targets = mixup(augment(power, generator), targets, settings.mixup, generator)
            trained.seconds_by_part["augment"] += time.perf_counter() - clock
            clock = time.perf_counter()
            logits = network(features)
            loss = F.cross_entropy(logits, targets, label_smoothing=settings.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            trained.seconds_by_part["network"] += time.perf_counter() - clock
            loss_sum += float(loss.detach()) * len(rows)
            trained.samples += len(rows)
            correct += int((logits.detach().argmax(1) == targets.argmax(1)).sum())
        if not math.isfinite(loss_sum):
            raise UserError(f"training diverged in epoch {number} (loss {loss_sum}); lower --learning-rate")
        clock = time.perf_counter()
        val_loss, val_acc = score(average.module, validation)
        trained.seconds_by_part["validate"] += time.perf_counter() - clock
        epoch = Epoch(number, loss_sum / len(sampler), correct / len(sampler), val_loss, val_acc)
        trained.history.append(epoch)
        if best := number == 1 or _better(epoch, trained.best):
            trained.best_epoch = number
            trained.network.load_state_dict(average.module.state_dict())
        on_epoch(epoch, best)
    trained.seconds = time.perf_counter() - started
    trained.network.eval()
    return trained


def _better(one: Epoch, other: Epoch) -> bool:
    """Higher accuracy; the lower loss where two are level, which happens often on a small validation split."""
    return (one.val_acc, -one.val_loss) > (other.val_acc, -other.val_loss)
