"""What methods that mask gradients share: how far environments agree on each weight, and the masked mean."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .base import Direction, Window, environment_slopes


def sign_agreement(gradients: Tensor) -> Tensor:
    """Absolute mean sign over environments: [E, ...] -> [...] in 0..1; 1 where all agree."""
    return gradients.sign().mean(0).abs()


def masked_mean(gradients: Tensor, mask: Tensor) -> Tensor:
    """Mean over environments of `gradients` [E, ...], times `mask` [...], divided by the mask's mean: what
    is let through makes up for the rest."""
    return mask * gradients.mean(0) / (mask.mean() + 1e-10)


def masked_direction(window: Window, name: str, mask: Callable[[Tensor], Tensor]) -> Direction:
    """The masked mean of every parameter's gradients, its `mask` computed from them [E, ...] -> [...]."""
    losses, gradients = environment_slopes(window)
    masked, let_through, weights = [], [], 0
    for parts in zip(*gradients, strict=True):
        stacked = torch.stack(parts)
        own = mask(stacked)
        masked.append(masked_mean(stacked, own))
        let_through.append(own.sum())
        weights += own.numel()
    return Direction(losses.mean(), masked, {f"{name}_share": torch.stack(let_through).sum() / weights})
