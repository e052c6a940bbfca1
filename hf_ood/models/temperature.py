"""A temperature that lies in the weights, where every loader finds it."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .penultimate import last_linear
from .run_over_dataset import run_over


@torch.no_grad()
def with_temperature(
    model: PreTrainedModel, temperature: float, batch: Mapping[str, Tensor]
) -> PreTrainedModel:
    """A copy with its last layer's weight and bias divided by the temperature, which divides its logits.

    `batch`: some inputs, on which that is checked. Raises `ValueError` for a temperature that is not above
    0, and where the logits are not what the last linear layer gives.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(f"A temperature lies above 0, not at {temperature}.")
    scaled = copy.deepcopy(model)
    layer = last_linear(scaled)
    for own in layer.parameters():
        own.div_(temperature)
    before, after = (next(run_over(network, [batch]))[0].logits.float() for network in (model, scaled))
    if not torch.allclose(before / temperature, after, rtol=1e-2, atol=1e-3):
        raise ValueError(
            f"The logits of {type(model).__name__} are not what its last linear layer gives, so a "
            "temperature cannot be part of its weights."
        )
    return scaled
