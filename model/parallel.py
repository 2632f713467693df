"""Two threads for the halves of a batch, on two copies of a network that share their weights."""

import copy
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from model.network import TCResNet8

CPU = torch.device("cpu")


@contextmanager
def side_by_side(network: TCResNet8) -> Iterator[tuple[list[TCResNet8], ThreadPoolExecutor]]:
    """``network`` and a twin that shares its weights, with a thread for each: a batch is trained on in two halves.

    torch's own threads share every single operation and wait for one another at each: with a network this small, two of
    them are slower than one. An accelerator does a batch in one part.
    """
    twins = [network]
    if next(network.parameters()).device == CPU:
        twins.append(copy.deepcopy(network))
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
    torch._foreach_div_(statistics[0], len(twins))
    for seen in statistics[1:]:
        torch._foreach_copy_(seen, statistics[0])
