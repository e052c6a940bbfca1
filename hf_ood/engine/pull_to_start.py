"""A pull of the weights towards those that a training started from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..models.penultimate import last_linear


class PullToStart:
    """L2-SP: the gradient of `strength / 2 * |w - w_0|^2` over all weights but the last linear layer's.

    Reference: Li, Grandvalet & Davoine 2018, arXiv:1802.01483. The last layer is new where a pretrained
    network gets other classes, so it has no start worth keeping; weight decay is for it. The starting weights
    `w_0` are this object's state, so that a resumed training is pulled to the same ones. Raises `ValueError`
    where nothing but the last layer trains.
    """

    kind = "l2_sp"

    def __init__(self, model: nn.Module, strength: float):
        self.strength = strength
        try:
            new = {id(own) for own in last_linear(model).parameters()}
        except ValueError:  # a network without one has no layer that is new
            new = set()
        moving = {name: own for name, own in model.named_parameters() if own.requires_grad}
        self.pulled = {name: own for name, own in moving.items() if id(own) not in new}
        if not self.pulled:
            raise ValueError(
                "l2_sp pulls towards the start what lies below the last linear layer, and nothing of that "
                "trains: leave l2_sp out."
            )
        self.start = {name: own.detach().clone() for name, own in self.pulled.items()}

    @torch.no_grad()
    def add_to_gradients(self) -> None:
        """After the backward pass of a whole step, on every process; what has no gradient rests."""
        for name, own in self.pulled.items():
            if own.grad is not None:
                own.grad.add_(own - self.start[name], alpha=self.strength)

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.start)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, value in self.start.items():
            value.copy_(state[name])
