"""One optimizer step: the exact loss over all its micro-batches and processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import get_device_states, set_device_states

from ..objectives import Objective, Sums
from ..objectives.functional import environment_means, environment_sums, mean_over_present

AUXILIARY_LOSS = "auxiliary_loss"  # its name in a model's output, in the sums and in the log
RandomState = tuple[Tensor, list[int], list[Tensor]]


@dataclass
class OptimizerStep:
    """The micro-batches of one optimizer step, and the loss that they share.

    `loss`: f(totals), once they are known. `slopes`: df/dtotals. `parts`: what the objective wants logged,
    added up over the micro-batches of a linear one.
    `counts`: samples of each environment in the whole step, for linear objectives. `random_states`: those in
    which the totals were collected, one for each micro-batch. `repeated`: its samples were seen before in
    this step, so the objective's state and the logs have them already.
    """

    batches: list[dict[str, Any]]
    position: int = 0
    loss: Tensor | None = None
    slopes: Sums = field(default_factory=dict)
    parts: dict[str, Tensor] = field(default_factory=dict)
    counts: Tensor | None = None
    random_states: list[RandomState] = field(default_factory=list)
    repeated: bool = False

    def solve(self, objective: Objective, totals: Sums, step: int) -> None:
        """Evaluate the objective at the totals: its value, and its slope in every sum.

        A network's own loss, if there is one, counts as its mean over environments.
        """
        leaves = {name: total.detach() for name, total in totals.items()}
        if not self.repeated:
            objective.update(leaves, step)
        with torch.enable_grad():
            variables = {name: leaf.requires_grad_() for name, leaf in leaves.items() if name != "count"}
            loss, parts = objective.loss({**leaves, **variables}, step)
            if AUXILIARY_LOSS in variables:
                means = environment_means(variables[AUXILIARY_LOSS], leaves["count"])
                loss = loss + objective.scale(step) * mean_over_present(means, leaves["count"])
            slopes = torch.autograd.grad(loss, list(variables.values()), allow_unused=True)
        self.loss = loss.detach()
        self.parts = {name: self.parts.get(name, 0) + part.detach() for name, part in parts.items()}
        self.slopes = {
            name: slope for name, slope in zip(variables, slopes, strict=True) if slope is not None
        }

    def share(self, sums: Sums) -> Tensor:
        """A scalar whose gradient is this micro-batch's part of the gradient of the loss."""
        return torch.stack([(slope * sums[name]).sum() for name, slope in self.slopes.items()]).sum()


def add(sums: list[Sums]) -> Sums:
    """Add up the sums of several micro-batches."""
    return {name: torch.stack([part[name] for part in sums]).sum(0) for name in sums[0]}


def environment_counts(environments: list[Tensor], num_environments: int) -> Tensor:
    """Samples of each environment over several micro-batches -> float [E]."""
    ids = torch.cat(environments)
    return environment_sums(torch.ones(len(ids), device=ids.device), ids, num_environments)


def reduce_sums(sums: Sums, reduce: Callable[[Tensor], Tensor]) -> Sums:
    """Apply `reduce` (a sum over processes) to all sums in one go."""
    flat = reduce(torch.cat([value.detach().reshape(-1) for value in sums.values()]))
    parts = flat.split([value.numel() for value in sums.values()])
    return {name: part.view_as(sums[name]) for name, part in zip(sums, parts, strict=True)}


def random_state(batch: dict[str, Any]) -> RandomState:
    """The random state of the CPU and of the devices that hold the batch."""
    return torch.get_rng_state(), *get_device_states(*batch.values())


def restore_random_state(state: RandomState) -> None:
    cpu, devices, device_states = state
    torch.set_rng_state(cpu)
    set_device_states(devices, device_states)


@contextmanager
def preserved_buffers(model: nn.Module) -> Iterator[None]:
    """Undo what a forward pass does to buffers (batch statistics): they advance once per micro-batch."""
    saved = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(saved[name])
