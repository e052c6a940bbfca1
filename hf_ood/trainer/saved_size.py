"""How much room a checkpoint needs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..engine import own_part


def size_of_state(model: nn.Module, optimizer: Any) -> int:
    """About how many bytes this process writes: weights, buffers, and what the optimizer keeps of them."""
    kept = [*model.parameters(), *model.buffers()]
    state = getattr(optimizer, "state", None) or {}
    kept += [value for own in state.values() for value in own.values() if isinstance(value, Tensor)]
    return sum(own.numel() * own.element_size() for own in map(own_part, kept))
