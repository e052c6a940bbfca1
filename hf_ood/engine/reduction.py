"""How tensors of all processes become one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor

from ..methods.objectives import Sums
from .stopping import STOPPING

Awaited = Callable[[], Tensor]


@dataclass(frozen=True)
class Reduction:
    """The number of processes that share a step, and the sum of a tensor over them (not in place).

    `add_meanwhile` begins the sum and returns what waits for it: processes need not wait for the slowest
    before they go on.
    """

    processes: int = 1
    add: Callable[[Tensor], Tensor] = lambda tensor: tensor
    add_meanwhile: Callable[[Tensor], Awaited] = lambda tensor: lambda: tensor

    @classmethod
    def of(cls, accelerator: Accelerator) -> Reduction:
        """That of an `Accelerator`."""
        if accelerator.num_processes == 1:
            return ALONE
        if dist.is_initialized():
            return cls.over_processes()

        def add(tensor: Tensor) -> Tensor:
            return accelerator.reduce(tensor, "sum")

        def add_at_once(tensor: Tensor) -> Awaited:
            total = add(tensor)
            return lambda: total

        return cls(accelerator.num_processes, add, add_at_once)

    @classmethod
    def over_processes(cls) -> Reduction:
        """That of `torch.distributed`, if it was initialised; otherwise of this process alone."""
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return ALONE
        return cls(dist.get_world_size(), lambda tensor: _add_meanwhile(tensor)(), _add_meanwhile)

    @property
    def process(self) -> int:
        """The number of this process."""
        return dist.get_rank() if self.processes > 1 and dist.is_initialized() else 0

    def rows(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, one below the other, to the bit."""
        if self.processes == 1:
            return tensor[None]
        rows = tensor.new_zeros(self.processes, *tensor.shape)
        rows[self.process] = tensor
        return self.add(rows)

    def mean(self, tensor: Tensor) -> Tensor:
        return self.add(tensor) / self.processes if self.processes > 1 else tensor

    def add_sums(self, sums: Sums) -> Sums:
        """All sums in one go, without graph."""
        if self.processes == 1:
            return {name: value.detach() for name, value in sums.items()}
        flat = self.add(torch.cat([value.detach().reshape(-1) for value in sums.values()]))
        parts = flat.split([value.numel() for value in sums.values()])
        return {name: part.view_as(sums[name]) for name, part in zip(sums, parts, strict=True)}

    def mean_of(self, tensors: list[Tensor]) -> list[Tensor]:
        """The means of several tensors in one go."""
        if self.processes == 1 or not tensors:
            return tensors
        flat = self.mean(torch.cat([tensor.reshape(-1) for tensor in tensors]))
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def _add_meanwhile(tensor: Tensor) -> Awaited:
    total = STOPPING.along(tensor.detach())
    work = dist.all_reduce(total, async_op=True)

    def wait() -> Tensor:
        work.wait()
        return STOPPING.without(total, tensor)

    return wait


ALONE = Reduction()
