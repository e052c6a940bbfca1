"""Networks whose weights are divided over processes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from torch.distributed.tensor import DTensor


def is_sharded(model: nn.Module) -> bool:
    """Whether FSDP, of either kind, or a device mesh holds parts of the weights: seen at the modules and
    parameters themselves, whoever divided them."""
    if any(isinstance(module, FSDPModule | FullyShardedDataParallel) for module in model.modules()):
        return True
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def own_part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: all of one that is not divided."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
