"""Parameters of the objective's own: they train with the network's but are no part of the network.

They lie outside of what DistributedDataParallel wraps, so these functions do for them what it does for the
network: the same first weights and the mean of gradients over processes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import lr_scheduler

from ..data import EnvironmentDataset
from ..data.sampler import drawn_shares
from ..methods.objectives import Objective
from ..models import Penultimate
from .reduction import Reduction

# Schedulers that keep more than a base rate for each group, or others inside of them.
NOT_EXTENDED = (
    lr_scheduler.OneCycleLR,
    lr_scheduler.CyclicLR,
    lr_scheduler.SequentialLR,
    lr_scheduler.ChainedScheduler,
)


def build_networks(
    objective: Objective,
    penultimate: Penultimate | None,
    rows: EnvironmentDataset,
    device: torch.device,
    seed: int,
    proportions: str = "natural",
) -> None:
    """Let the objective make its networks for a training on `rows`, drawn in these `proportions`; the seed
    decides the networks' first weights, on every process. `penultimate`: where the network's features are,
    if the objective needs them."""
    objective.group_shares = drawn_shares(rows, proportions)
    classifier = penultimate.classifier if penultimate else None
    present = torch.bincount(rows.environments, minlength=len(rows.environment_names)) > 0
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        objective.build(
            classifier.in_features if classifier else 0,
            classifier.out_features if classifier else len(rows.label_names),
            present.to(device),
        )


def add_to_optimizer(
    objective: Objective, optimizer: torch.optim.Optimizer, scheduler: object, learning_rate: float
) -> None:
    """Give the objective's parameters a group of their own, once; without weight decay.

    `scheduler`: one that was made for the optimizer before, or None; it goes on with the new group as with
    the first. Raises `ValueError` for a kind that cannot take one more group.
    """
    known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    own = [parameter for parameter in objective.parameters() if id(parameter) not in known]
    if not own:
        return
    rate, first = objective.learning_rate(learning_rate), optimizer.param_groups[0]
    done = first["lr"] / first["initial_lr"] if first.get("initial_lr") else 1.0
    if scheduler is not None and (isinstance(scheduler, NOT_EXTENDED) or not _has_groups(scheduler)):
        raise ValueError(
            f"{objective.name} trains a network of its own, which {type(scheduler).__name__} cannot take "
            "along: leave the scheduler out of optimizers=(optimizer, None) and set lr_scheduler_type."
        )
    group = {"params": own, "lr": rate, "weight_decay": 0.0}
    optimizer.add_param_group(group)
    if scheduler is None:
        return
    optimizer.param_groups[-1].update(lr=rate * done, initial_lr=rate)
    for name, value in (("base_lrs", rate), ("lr_lambdas", None), ("min_lrs", None)):
        values = getattr(scheduler, name, None)
        if isinstance(values, list):
            values.append(values[0] if value is None else value)


def _has_groups(scheduler: object) -> bool:
    return hasattr(scheduler, "base_lrs") or isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)


def average_gradients(objective: Objective, reduction: Reduction) -> None:
    """The mean of the gradients over processes, on each of them."""
    moving = [parameter for parameter in objective.parameters() if parameter.grad is not None]
    gradients = [parameter.grad for parameter in moving if parameter.grad is not None]
    for parameter, mean in zip(moving, reduction.mean_of(gradients), strict=True):
        parameter.grad = mean


def rest(objective: Objective, model: nn.Module, step: int) -> None:
    """Take the gradients of the parameters whose turn it is not: an optimizer skips what has none."""
    players = objective.players(step)
    for moves, parameters in zip(players, (model.parameters(), objective.parameters()), strict=True):
        if not moves:
            for parameter in parameters:
                parameter.grad = None
