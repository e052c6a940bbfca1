"""How tensors of all processes become one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor

from ..objectives import Sums


@dataclass(frozen=True)
class Reduction:
    """The number of processes that share a step, and the sum of a tensor over them (not in place)."""

    processes: int = 1
    add: Callable[[Tensor], Tensor] = lambda tensor: tensor

    @classmethod
    def of(cls, accelerator: Accelerator) -> Reduction:
        """That of an `Accelerator`."""
        if accelerator.num_processes == 1:
            return ALONE
        return cls(accelerator.num_processes, lambda tensor: accelerator.reduce(tensor, "sum"))

    @classmethod
    def over_processes(cls) -> Reduction:
        """That of `torch.distributed`, if it was initialised; otherwise of this process alone."""
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return ALONE
        return cls(dist.get_world_size(), _all_reduced)

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


def _all_reduced(tensor: Tensor) -> Tensor:
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


ALONE = Reduction()
