"""A network that guesses environments from features, and the reversal that makes features resist it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class ReverseGradient(torch.autograd.Function):
    """The identity whose gradient is multiplied by `-strength` (Ganin et al. 2016, section 4.2)."""

    @staticmethod
    def forward(context: Any, features: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradients[0], None


def rising_strength(progress: float) -> float:
    """`2 / (1 + exp(-10 p)) - 1`: from 0 to 1 over the training's progress p (Ganin et al. 2016, 5.2)."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


class Discriminator(nn.Module):
    """Features [B, D], and labels int64 [B] if conditional -> logits [B, E] of the environments.

    A perceptron of `depth` linear layers of `width`; with `num_labels`, a learnt vector of the sample's class
    is added to its features first. The last layer starts at zero, so environments are interchangeable.
    Environments that are not `present`, bool [E], in the training data get no probability.
    """

    present: Tensor

    def __init__(
        self,
        feature_size: int,
        present: Tensor,
        *,
        width: int,
        depth: int,
        dropout: float,
        num_labels: int | None = None,
    ):
        super().__init__()
        self.classes = None if num_labels is None else nn.Embedding(num_labels, feature_size)
        layers: list[nn.Module] = []
        for size in [feature_size, *[width] * (depth - 2)]:
            layers += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.last = nn.Linear(width, len(present))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("present", present, persistent=False)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.classes is not None:
            features = features + self.classes(labels)
        return self.last(self.hidden(features)).masked_fill(~self.present, -math.inf)
