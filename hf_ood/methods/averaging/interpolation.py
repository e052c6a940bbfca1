"""The straight line between two networks' weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


@torch.no_grad()
def interpolate(model_a: nn.Module, model_b: Model, alpha: float) -> Model:
    """A model with the weights `(1 - alpha) * a + alpha * b`; neither of the two changes.

    WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903) with the network before fine-tuning as a and that after
    as b. Floating-point buffers are interpolated too, anything else is b's. Raises `ValueError` when the two
    are different networks.
    """
    start, end = model_a.state_dict(), model_b.state_dict()
    if different := different_tensors(start, end):
        raise ValueError(
            f"There is no line between two different networks: {', '.join(different[:5])} "
            f"({len(different)} in all) are not in both with the same shape."
        )
    mixed = copy.deepcopy(model_b)
    mixed.load_state_dict(
        {
            name: torch.lerp(start[name].to(value), value, alpha) if value.is_floating_point() else value
            for name, value in end.items()
        }
    )
    return mixed


def different_tensors(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that are not in both, or not of the same shape."""
    return sorted(
        name
        for name in {*one, *other}
        if name not in one or name not in other or one[name].shape != other[name].shape
    )
