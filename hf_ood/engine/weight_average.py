"""An average of the weights, kept beside them while they train."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..methods.averaging import Averaging
from ..methods.averaging.base import averaged_tensors, prefixed, put, unprefixed


class WeightAverage:
    """An averaging at work on a network, `model`.

    Its state is the averaging's and the weights as they are: a checkpoint's weights are the average, and
    resuming goes on from these. All processes average the same weights and need not talk about it.
    """

    def __init__(self, averaging: Averaging, model: nn.Module):
        self.averaging, self.model = averaging, model
        averaging.reset()
        with torch.no_grad():
            averaging.begin(averaged_tensors(model))

    @property
    def kind(self) -> str:
        return self.averaging.name

    @torch.no_grad()
    def update(self, step: int, max_steps: int) -> None:
        """Take in the weights after optimizer step `step` of `max_steps`, counted from 1."""
        self.averaging.update(averaged_tensors(self.model), step, max_steps)

    @torch.no_grad()
    def finish(self) -> None:
        """Leave the network with what the averaging gives."""
        put(self.averaging.final, self.model)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within, the network has averaged weights, if there are any."""
        average = self.averaging.average
        with torch.no_grad():
            own = {name: value.clone() for name, value in averaged_tensors(self.model).items() if average}
            put(average, self.model)
        try:
            yield
        finally:
            with torch.no_grad():
                put(own, self.model)

    def state_dict(self) -> dict[str, Tensor]:
        own = prefixed("own", averaged_tensors(self.model))
        return own | prefixed("state", self.averaging.state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        device = next(self.model.parameters()).device
        placed = {name: value.to(device) for name, value in state.items()}
        with torch.no_grad():
            put(unprefixed("own", placed), self.model)
        self.averaging.load_state_dict(unprefixed("state", placed))
