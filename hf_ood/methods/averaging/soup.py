"""The mean of several networks' weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .interpolation import different_tensors

Model = TypeVar("Model", bound=nn.Module)


@torch.no_grad()
def average_weights(models: Iterable[Model], weights: Sequence[float] | None = None) -> Model:
    """A model with the mean of the models' weights; none of them changes.

    `models` are taken one after the other, so that a generator has one in memory at a time. `weights`: what
    each counts, by default the same, divided by their sum. Sums are of float64; floating-point buffers are
    averaged too, anything else is the first model's. Statistics of batch normalisation no longer fit their
    layers' inputs afterwards: `hf_ood.models.measure_batch_norms` measures them again. Models with adapters
    of `peft` are merged first: the mean is of the weights with their adapters, not of the adapters' factors,
    whose mean is another network.

    Raises `ValueError` for different networks, for weights that are not one number of at least 0 for each
    model, and without any model.

    Reference: Wortsman et al. 2022, arXiv:2203.05482 (model soups). It helps where the models were trained
    from the same starting weights (Rame et al. 2022, arXiv:2205.09739, DiWA).

    Example:
        soup = average_weights([first, second, third])
    """
    mean: Any = None
    sums: dict[str, Tensor] = {}
    total, number = 0.0, 0
    for number, given in enumerate(models, 1):
        model = _without_adapters(given)
        share = _weight_of(number, weights)
        state = model.state_dict()
        if mean is None:
            mean = copy.deepcopy(model)
        elif different := different_tensors(mean.state_dict(), state):
            raise ValueError(
                f"Different networks have no mean: {', '.join(different[:5])} ({len(different)} in all) are "
                f"not in the first and in number {number} with the same shape."
            )
        for name, value in state.items():
            if value.is_floating_point():
                part = share * value.double().to(sums[name].device if name in sums else value.device)
                sums[name] = sums[name] + part if name in sums else part
        total += share
    if weights is not None and len(weights) != number:
        raise ValueError(f"There are {len(weights)} weights for {number} models: give each model one.")
    if mean is None or not total > 0:
        raise ValueError("There is nothing to average: give at least one model that counts more than 0.")
    own = mean.state_dict()
    mean.load_state_dict({**own, **{name: (value / total).to(own[name]) for name, value in sums.items()}})
    return mean


def _weight_of(number: int, weights: Sequence[float] | None) -> float:
    """What model `number` counts, from 1 on."""
    if weights is None:
        return 1.0
    if number > len(weights):
        raise ValueError(f"There are {len(weights)} weights for more models: give each model one.")
    if not 0 <= weights[number - 1] < float("inf"):
        raise ValueError(f"weights are numbers of at least 0, not {weights[number - 1]}.")
    return float(weights[number - 1])


def _without_adapters(model: Any) -> Any:
    """The network itself, with adapters of peft as part of its weights."""
    return copy.deepcopy(model).merge_and_unload() if hasattr(model, "merge_and_unload") else model
