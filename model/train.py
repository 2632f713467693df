"""Training, from the first weights to the kept ones: one-cycle Muon and AdamW on augmented batches, averaged weights.

The epoch with the least calibrated loss on the validation split is kept, not the one with the highest accuracy: on a
few hundred clips that is as often an early one that was lucky. The test split has no part in it.
"""

import copy
import hashlib
import math
import pickle
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kws.detection import SILENCE, UNKNOWN
from model import files, hard_negatives
from model.augment import Augmenter, mixup
from model.calibration import calibrate
from model.console import log
from model.corpus import CROP, HARD, NO_CLIP, Corpus, Sampler, Split
from model.errors import UserError, differences, first_sentence
from model.features import log_mel
from model.network import TCResNet8
from model.provenance import versions
from model.settings import RECIPE, Settings, option_name

STATE = "state.pt"


class Epoch(NamedTuple):
    """One line of the history; losses are mean cross-entropies, accuracies shares of 1."""

    epoch: int
    train_loss: float
    train_acc: float
    val_loss: float
    val_acc: float


@dataclass
class Trained:
    """What training leaves: the network with the best epoch's weights, the history, and the time it took."""

    network: TCResNet8
    before: TCResNet8 | None = None  # before it heard the user's own negatives, if it ever was without them
    history: list[Epoch] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best(self) -> Epoch:
        return min(self.history, key=lambda epoch: epoch.val_loss)


def train(settings: Settings, corpus: Corpus, state: Path | None = None, resume: bool = False) -> Trained:
    """Train on ``corpus.splits["training"]``, choose by ``["validation"]``.

    ``state`` is a folder where a run that was stopped finds, with ``resume``, what it needs to go on. The same settings
    and corpus give the same weights, bit for bit, on one machine, in one go or resumed: all that is random follows from
    the seed and the epoch's number. Raises UserError: the loss ran away; the state is of another run.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it
    torch.manual_seed(settings.seed)

    sampler, crops = Sampler(corpus, settings), hard_negatives.of(corpus, settings)
    augment = Augmenter(corpus.noise, settings.noise_probability, settings.band_probability, settings.max_shift)
    network = TCResNet8(len(corpus.labels), width=settings.width, dropout=settings.dropout)
    trained = Trained(copy.deepcopy(network).eval(), copy.deepcopy(network).eval() if crops.without else None)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stubs lack that form
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay), use_buffers=True)
    # Muon (Liu et al. 2025, arXiv:2502.16982) takes matrices: the convolutions' weights, in the same memory.
    kernels = [weight for weight in network.parameters() if weight.ndim == 4 and settings.muon]
    matrices = [weight.detach().permute(0, 2, 3, 1).view(len(weight), -1) for weight in kernels]
    rest = [weight for weight in network.parameters() if weight.ndim < 4 or not settings.muon]
    optimizers: list[Any] = [torch.optim.AdamW(rest, weight_decay=settings.weight_decay, fused=True)]
    if settings.muon:
        optimizers += [torch.optim.Muon(matrices, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw")]
    steps, rate = settings.epochs * math.ceil(len(sampler) / settings.batch_size), settings.learning_rate
    schedules = [OneCycleLR(each, rate, steps, pct_start=settings.warmup) for each in optimizers]
    parts = [network, average, *optimizers, *schedules, crops, *filter(None, (trained.network, trained.before))]
    identity = identity_of(settings, corpus)
    if state and resume and (state / STATE).exists():
        kept = load_state(state / STATE, identity)
        for each, values in zip(parts, kept["parts"], strict=True):
            each.load_state_dict(values)
        trained.history = [Epoch(*epoch) for epoch in kept["history"]]
        trained.seconds = kept["seconds"]
        log.info("going on after epoch %d", len(trained.history))

    with side_by_side(network) as (twins, pool):
        for number in range(len(trained.history) + 1, settings.epochs + 1):
            started = time.perf_counter()
            rows = sampler.epoch(_generator(settings.seed, number))
            drawn = [_generator(settings.seed, number, 0, twin) for twin in range(len(twins))]
            picked = _generator(settings.seed, number, 0, "crops")
            crops.begin(number)
            total = torch.zeros(2)  # loss, right answers
            for step, batch in enumerate(rows.split(settings.batch_size)):
                if step % 100 == 0:  # else a large data set's features all end up in this process's memory
                    corpus.splits["training"].stored.release()
                starts = crops.draw(batch == HARD, picked)
                part = partial(_learn, corpus, crops, augment, settings, len(batch))
                done = list(pool.map(part, twins, batch.chunk(len(twins)), starts.chunk(len(twins)), drawn))
                crops.tell(starts[batch <= CROP], torch.cat([sure for _, sure in done]))
                gather(twins[: len(done)])
                for matrix, weight in zip(matrices, kernels, strict=True):
                    matrix.grad = weight.grad.permute(0, 2, 3, 1).flatten(1)  # type: ignore[union-attr]
                for optimizer, schedule in zip(optimizers, schedules, strict=True):
                    optimizer.step()
                    schedule.step()
                average.update_parameters(network)
                total += torch.stack([sums for sums, _ in done]).sum(dim=0)

            loss, right = (each / len(rows) for each in total.tolist())
            if not math.isfinite(loss):
                raise UserError(f"training diverged in epoch {number} (loss {loss}); lower --learning-rate")
            epoch = Epoch(number, loss, right, *score(average.module, corpus.splits["validation"], corpus.labels))
            trained.history.append(epoch)
            if is_best := trained.best is epoch:
                trained.network.load_state_dict(average.module.state_dict())
            if trained.before and number == crops.without:
                trained.before.load_state_dict(average.module.state_dict())
            trained.seconds += time.perf_counter() - started
            told, mark = "epoch %3d/%d  train loss %.4f acc %.4f  val loss %.4f acc %.4f%s", "  *" if is_best else ""
            log.info(told, number, settings.epochs, *epoch[1:], mark)
            if state:
                kept = {"history": [[*each] for each in trained.history], "seconds": trained.seconds}
                save_state(state / STATE, identity, kept | {"parts": [each.state_dict() for each in parts]})
    return trained


def _learn(
    corpus: Corpus,
    crops: hard_negatives.Crops,
    augment: Augmenter,
    settings: Settings,
    whole: int,
    network: TCResNet8,
    rows: Tensor,
    starts: Tensor,
    drawn: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Leave the gradients of a part of a batch of ``whole`` clips in ``network``, of ``rows`` of an epoch with crops at
    ``starts``. Gives the losses' sum and the number of right answers, and how probable a keyword was in each crop."""
    data, labels = corpus.splits["training"], corpus.labels
    copies = torch.randint(0, data.stored.copies, rows.shape, generator=drawn)
    silent, running = (rows == NO_CLIP).nonzero().flatten(), (rows <= CROP).nonzero().flatten()
    rows = rows.clamp(min=0)
    power, answers = data.power(rows, copies), data.targets[rows]
    if len(silent):
        power[silent] = augment.silence(len(silent), drawn)
        answers[silent] = labels.index(SILENCE)
    if len(running):
        power[running] = crops.read(starts[running])
        answers[running] = labels.index(UNKNOWN)
    targets = F.one_hot(answers, len(labels)).float()
    features, targets = mixup(augment(power, drawn), targets, settings.mixup, drawn)
    logits = network(features, drawn)
    loss = F.cross_entropy(logits, targets, label_smoothing=settings.label_smoothing, reduction="sum")
    network.zero_grad(set_to_none=True)
    (loss / whole).backward()
    sure = logits.detach()[running].softmax(1)[:, : len(corpus.dataset.labels)].sum(1)
    return torch.stack([loss.detach(), (logits.argmax(1) == targets.argmax(1)).sum()]), sure


@contextmanager
def side_by_side(network: TCResNet8) -> Iterator[tuple[list[TCResNet8], ThreadPoolExecutor]]:
    """``network`` and a twin that shares its weights, with a thread for each half of a batch: torch's own threads wait
    for one another at every operation, and are slower than one with a network this small."""
    twins = [network, copy.deepcopy(network)]
    for own, shared in zip(twins[1].parameters(), network.parameters(), strict=True):
        own.data = shared.data
    interval = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)  # seconds after which a thread asks for Python's lock; an operation takes about as long
    try:
        with ThreadPoolExecutor(len(twins), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield twins, pool
    finally:
        sys.setswitchinterval(interval)


@torch.no_grad()
def gather(twins: Sequence[TCResNet8]) -> None:
    """Leave the sum of the twins' gradients in the first, and in all of them their mean batch statistics."""
    gradients = [[weight.grad for weight in twin.parameters() if weight.grad is not None] for twin in twins]
    statistics = [[buffer for buffer in twin.buffers() if buffer.is_floating_point()] for twin in twins]
    for theirs, seen in zip(gradients[1:], statistics[1:], strict=True):  # in one order, whichever thread is done first
        torch._foreach_add_(gradients[0], theirs)
        torch._foreach_add_(statistics[0], seen)
        torch._foreach_div_(statistics[0], 2)
        torch._foreach_copy_(seen, statistics[0])


@torch.inference_mode()
def predict(network: nn.Module, power: Tensor) -> Tensor:
    """Logits ``float32[clips, classes]`` for mel power ``[clips, bands, frames]``."""
    network.eval()
    return torch.cat([network(log_mel(part)) for part in power.split(128)])


def score(network: nn.Module, split: Split, labels: Sequence[str]) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over a split, calibrated: how sure it is on the whole decides on no epoch."""
    logits = torch.cat([predict(network, split.power(rows)) for rows in torch.arange(len(split)).split(512)]).numpy()
    targets = split.targets.numpy()
    _, bias, loss = calibrate(logits, targets, labels)
    shifted = logits - bias * np.array([label == UNKNOWN for label in labels])
    return loss, float((shifted.argmax(axis=1) == targets).mean())


def identity_of(settings: Settings, corpus: Corpus) -> dict[str, Any]:
    """All that the weights depend on, by the names that a user knows; the code that makes them of the data, too."""
    names = ("augment", "calibration", "corpus", "features", "hard_negatives", "network", "train")
    paths = (Path(__file__).parent / f"{name}.py" for name in (*names, "data/noise", "data/recording"))
    recipe = [each.name for each in fields(settings) if each.metadata["panel"] == RECIPE]
    return {
        **{option_name(name): getattr(settings, name) for name in (*recipe, "seed")},
        "labels": list(corpus.labels),
        "data digest": corpus.digest,
        "source": hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12],
        **{name: found for name, found in versions().items() if not name.startswith("onnx")},
    }


def save_state(path: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    files.write_saved(path, partial(torch.save, {"identity": identity, "state": state}))


def load_state(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The state that is kept. Raises UserError: it is of another run (what differs is named), or cannot be read."""
    try:
        content = torch.load(path, weights_only=True)
        different, state = differences(content["identity"], identity), dict(content["state"])
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        why = f"cannot be read ({first_sentence(error)}); remove it to start anew"
        raise UserError(f"--resume: '{path}' {why}") from error
    if different:
        why = f"is of a different run ({different}); give the same options, or train without --resume"
        raise UserError(f"--resume: '{path}' {why}")
    return state


def _generator(*parts: int | str) -> torch.Generator:
    """What draws the random numbers that ``parts`` name."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
