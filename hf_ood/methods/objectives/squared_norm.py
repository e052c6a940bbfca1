"""The squared norm of weights, whole or divided over processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate


def squared_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Sum of the squares of all elements -> [].

    Of divided weights (`DTensor`) the sum is over the parts on all processes, and its gradient reaches the
    part that this process holds. FSDP averages over processes the gradients of what it has gathered, of which
    each process has the whole, and takes those of parts as they are: each is right.
    """
    whole: list[Tensor] = []
    divided: dict[tuple[DeviceMesh, tuple[Placement, ...]], list[Tensor]] = defaultdict(list)
    for parameter in parameters:
        if isinstance(parameter, DTensor):
            kinds = tuple(Partial() if p.is_shard() else Replicate() for p in parameter.placements)
            divided[parameter.device_mesh, kinds].append(parameter.to_local().square().sum())
        else:
            whole.append(parameter.square().sum())
    for (mesh, placements), parts in divided.items():  # one sum over processes for each
        own = torch.stack(parts).sum()
        whole.append(DTensor.from_local(own, mesh, placements, run_check=False).full_tensor())
    return torch.stack(whole).sum()
