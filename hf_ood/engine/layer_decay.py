"""Learning rates that fall from the output to the input."""

from __future__ import annotations

import torch
from torch import nn

from ..models.depths import layer_depths


def decay_by_layer(optimizer: torch.optim.Optimizer, model: nn.Module, decay: float) -> None:
    """Divide the optimizer's groups so that a parameter at depth d (`layer_depths`) learns with `decay ** d`
    times the rate of its group. Before a scheduler is made, which then keeps the ratios.

    Parameters that are not the model's keep theirs. Raises `ValueError` for a network without layers.
    """
    depths = layer_depths(model)
    depth_of = {id(own): depths[name] for name, own in model.named_parameters()}
    groups = []
    for group in optimizer.param_groups:
        by_depth: dict[int, list[nn.Parameter]] = {}
        for own in group["params"]:
            by_depth.setdefault(depth_of.get(id(own), 0), []).append(own)
        for depth, members in sorted(by_depth.items()):
            groups.append({**group, "params": members, "lr": group["lr"] * decay**depth})
    optimizer.param_groups[:] = groups
