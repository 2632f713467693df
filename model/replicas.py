"""A batch in parts, each on a copy of the network, in threads side by side.

torch's own threads share every single operation and wait for one another at each: with a network this small, two of
them are slower than one. Parts of a batch need one another at the end of a step only.
"""

import copy
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network import TCResNet8

PARTS = 2  # of a batch on the CPU, whatever the number of threads: the weights do not depend on it
_SWITCH_SECONDS = 2e-4  # a thread asks for Python's lock after this; torch's operations here take about as long
# Rows of the data -> features [rows, bands, frames] and probabilities [rows, classes]; drawn from the part's generator.
MakeBatch = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Pass:
    """What a batch, or a part of it, gave: loss and right answers summed over its clips, and its threads' seconds."""

    loss: Tensor
    hits: Tensor
    augment_seconds: float
    network_seconds: float


class Replicas:
    """Copies of ``network``, on its device, that share its parameters and have gradients and batch statistics each.

    An accelerator does a batch in one part, by one thread.
    """

    def __init__(self, network: TCResNet8, threads: int) -> None:
        device = next(network.parameters()).device
        count = PARTS if device.type == "cpu" else 1
        self._networks = [network, *(_sharing(network) for _ in range(count - 1))]
        self._generators = [torch.Generator(device) for _ in self._networks]
        self._threads = min(threads, count)
        self._pool: ThreadPoolExecutor | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The threads, for as long as the context lasts."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            with ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,)) as self._pool:
                yield
        finally:
            self._pool = None
            sys.setswitchinterval(interval)

    def begin_epoch(self, seeds: Callable[[int], int]) -> None:
        """Seed each part's generator, and let all start from the first one's batch statistics."""
        for part, generator in enumerate(self._generators):
            generator.manual_seed(seeds(part))
        for network in self._networks:
            network.train()
        for network in self._networks[1:]:
            torch._foreach_copy_(_statistics(network), self.statistics())

    def backward(self, rows: Tensor, make_batch: MakeBatch, label_smoothing: float) -> Pass:
        """Leave the gradient of the batch's mean loss, and its mean batch statistics, in the first network."""
        parts = rows.chunk(len(self._networks))

        def one(part: int) -> Pass:
            network, generator = self._networks[part], self._generators[part]
            began = time.perf_counter()
            features, targets = make_batch(parts[part], generator)
            between = time.perf_counter()
            logits = network(features, generator)
            loss = F.cross_entropy(logits, targets, label_smoothing=label_smoothing, reduction="sum")
            network.zero_grad(set_to_none=True)
            (loss / len(rows)).backward()
            hits = (logits.argmax(1) == targets.argmax(1)).sum()
            return Pass(loss.detach(), hits, between - began, time.perf_counter() - between)

        passes = self.map(one, range(len(parts)))
        self._gather(len(parts))
        return Pass(
            torch.stack([each.loss for each in passes]).sum(),
            torch.stack([each.hits for each in passes]).sum(),
            sum(each.augment_seconds for each in passes),
            sum(each.network_seconds for each in passes),
        )

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """The function of each item, in the threads."""
        if self._pool is None:
            raise RuntimeError("at_work() is not around this")
        return list(self._pool.map(function, items))

    def statistics(self) -> list[Tensor]:
        """The running means and variances of the first network's batch norms."""
        return _statistics(self._networks[0])

    @torch.no_grad()
    def _gather(self, used: int) -> None:
        first, *others = self._networks[:used]
        for other in others:  # in the same order, whichever thread was done first
            torch._foreach_add_(gradients(first), gradients(other))
            torch._foreach_add_(_statistics(first), _statistics(other))
        torch._foreach_div_(_statistics(first), used)
        for other in others:
            torch._foreach_copy_(_statistics(other), _statistics(first))


def gradients(network: nn.Module) -> list[Tensor]:
    """Of all parameters that have one."""
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def _statistics(network: nn.Module) -> list[Tensor]:
    """Running means and variances; the other buffers are counts of batches."""
    return [buffer for buffer in network.buffers() if buffer.is_floating_point()]


def _sharing(network: TCResNet8) -> TCResNet8:
    other = copy.deepcopy(network)
    for own, shared in zip(other.parameters(), network.parameters(), strict=True):
        own.data = shared.data
    return other
