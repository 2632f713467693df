"""What trains side by side: two threads for the halves of a batch, and the processes that ``torchrun`` started."""

import copy
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
import torch.distributed as dist

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
def gather(twins: list[TCResNet8], world: int) -> None:
    """Leave the sum of the twins' gradients in the first, and in all of them their mean batch statistics.

    Both are means over the processes of ``torchrun`` then.
    """
    first, *others = (list(twin.parameters()) for twin in twins)
    gradients = [weight.grad for weight in first if weight.grad is not None]
    statistics = [[buffer for buffer in twin.buffers() if buffer.is_floating_point()] for twin in twins]
    for other, seen in zip(others, statistics[1:], strict=True):  # in the same order, whichever thread was done first
        torch._foreach_add_(gradients, [weight.grad for weight in other if weight.grad is not None])
        torch._foreach_add_(statistics[0], seen)
    torch._foreach_div_(statistics[0], len(twins) * world)
    torch._foreach_div_(gradients, world)
    for tensor in [*gradients, *statistics[0]] if world > 1 else []:
        dist.all_reduce(tensor)
    for seen in statistics[1:]:
        torch._foreach_copy_(seen, statistics[0])


@contextmanager
def joined() -> Iterator[torch.device]:
    """This process's device: the accelerator that PyTorch finds, else the CPU; joined to others under ``torchrun``."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if count == 1:
        yield accelerator or CPU
        return
    if accelerator is None or accelerator.type == "mps":  # of which there is one, without collectives
        device = CPU
    else:
        device = torch.device(accelerator.type, int(os.environ["LOCAL_RANK"]))
        torch.accelerator.set_device_index(device.index)
    dist.init_process_group(dist.get_default_backend_for_device(device))
    try:
        yield device
    finally:
        dist.destroy_process_group()
