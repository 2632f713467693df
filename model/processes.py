"""The processes that train together, and the device of each: one alone, or those that ``torchrun`` started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from model.errors import UserError

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """This process among ``count`` equal ones, numbered by ``rank``; number 0 alone writes."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default=CPU)

    def share_of(self, rows: Tensor) -> Tensor:
        """This process's part of a batch; all get as many, for which the first ones may be in it twice."""
        if self.count == 1:
            return rows
        missing = -len(rows) % self.count
        padding = rows.repeat(-(-missing // len(rows)))[:missing]
        return torch.cat([rows, padding])[self.rank :: self.count]

    def average(self, tensors: list[Tensor]) -> None:
        """Make each tensor its mean over the processes, in place; one exchange for all of them."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def sum(self, values: list[float]) -> list[float]:
        """Each value's sum over the processes, the same in all of them."""
        if self.count == 1:
            return values
        total = torch.tensor(values, device=self.device, dtype=torch.float32 if self.device.type == "mps" else None)
        dist.all_reduce(total)
        return [float(value) for value in total]

    def from_first(self, value: Any) -> Any:
        """What process 0 gives here, in all of them."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


@contextmanager
def joined() -> Iterator[Processes]:
    """This process on the accelerator that PyTorch finds, else the CPU; joined to the others under ``torchrun``.

    Raises:
        UserError: more processes on this machine than it has accelerators.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if count == 1:
        yield Processes(device=accelerator or CPU)
        return
    if accelerator is None or accelerator.type == "mps":  # of which there is one, without collectives
        accelerator = None
    device = CPU
    if accelerator is not None:
        here, there = int(os.environ["LOCAL_RANK"]), torch.accelerator.device_count()
        if int(os.environ["LOCAL_WORLD_SIZE"]) > there:
            raise UserError(
                f"torchrun started more processes here than there are devices; give --nproc-per-node {there}"
            )
        torch.accelerator.set_device_index(here)
        device = torch.device(accelerator.type, here)
    dist.init_process_group(dist.get_default_backend_for_device(device))
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
