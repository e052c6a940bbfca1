"""A second forward pass that repeats the first: the same random numbers, and buffers left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import get_device_states, set_device_states

RandomState = tuple[Tensor, list[int], list[Tensor]]


def random_state(batch: Mapping[str, Any]) -> RandomState:
    """The random state of the CPU and of the devices that hold the batch."""
    return torch.get_rng_state(), *get_device_states(*batch.values())


def restore_random_state(state: RandomState) -> None:
    cpu, devices, device_states = state
    torch.set_rng_state(cpu)
    set_device_states(devices, device_states)


@contextmanager
def preserved_buffers(model: nn.Module) -> Iterator[None]:
    """Undo what a forward pass does to buffers (batch statistics): they advance once per micro-batch."""
    saved = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(saved[name])
