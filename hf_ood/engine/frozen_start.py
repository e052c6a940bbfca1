"""The network that a training started from, run beside the one that trains."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..models.penultimate import Penultimate


class FrozenStart:
    """A copy of the network as it is now, in evaluation mode, that nothing moves.

    Its weights and buffers are state, so that a resumed training compares with the same ones. `method`: who
    compares. Raises `ValueError` where nothing but the network's last linear layer trains: features would
    stay as they are.

    Example:
        start = FrozenStart(model, device)
        features = start.features(lambda network: network(**inputs))  # [B, D]
    """

    kind = "frozen_start"

    def __init__(self, model: nn.Module, device: torch.device, method: str = "the objective"):
        head = {id(own) for own in Penultimate(model).classifier.parameters()}
        if not any(own.requires_grad and id(own) not in head for own in model.parameters()):
            raise ValueError(
                f"{method} holds features near those of the network at its start, and nothing below the last "
                "linear layer trains, so they stay as they are: train more of the network, or leave it out."
            )
        self.model = copy.deepcopy(model)
        if "_original_forward" in vars(self.model):  # left by Accelerate: runs the network it was copied from
            vars(self.model).pop("_original_forward")
            vars(self.model).pop("forward", None)
        self.model.to(device).eval().requires_grad_(False)
        self.penultimate = Penultimate(self.model)

    @torch.no_grad()
    def features(self, run: Callable[[nn.Module], Any]) -> Tensor:
        """What the copy's last linear layer sees while it is `run` -> [B, D]."""
        with self.penultimate:
            run(self.model)
        return self.penultimate.take()

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.model.named_parameters()) | dict(self.model.named_buffers())

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, value in self.state_dict().items():
            value.copy_(state[name])
