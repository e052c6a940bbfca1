"""Invariant risk minimisation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..options import option
from .base import Objective, Outputs, Sums, risks
from .functional import environment_means, environment_sums, mean_over_present, sample_losses, sample_slopes


@dataclass
class IRM(Objective):
    """IRMv1: `mean_e R_e + weight * mean_e (dR_e/dw at w = 1)^2 + l2 * ||parameters||^2`.

    Reference: Arjovsky et al. 2019, arXiv:1907.02893, and the report, equation 9. The slope has a closed
    form in the logits, so an IRM step costs what an ERM step costs. Defaults of weight and warm-up are
    DomainBed's; the paper's own for its Colored MNIST, chosen on the test environment, are weight 91257,
    warm-up 190 of 501 steps, l2 0.0011.
    """

    name: ClassVar[str] = "irm"
    min_environments: ClassVar[int] = 2

    penalty_weight: float = option(100.0, "Weight of the penalty after the warm-up (DomainBed: 100).")
    warmup_steps: int = option(500, "Optimizer steps before the penalty gets its weight (DomainBed: 500).")
    warmup_penalty_weight: float = option(1.0, "Weight of the penalty during the warm-up (paper: 1).")
    divide_by_weight: bool = option(
        True, "Divide the whole loss by the penalty's weight where that exceeds 1, as the paper's code does."
    )
    reset_optimizer: bool = option(False, "Clear the optimizer's moments when the warm-up ends (DomainBed).")
    l2: float = option(0.0, "Weight of the squared norm of all parameters (report 5.4; paper: 0.0011).")

    def weight(self, step: int) -> float:
        return self.penalty_weight if step >= self.warmup_steps else self.warmup_penalty_weight

    def scale(self, step: int) -> float:
        return 1 / max(self.weight(step), 1.0) if self.divide_by_weight else 1.0

    def sums(self, outputs: Outputs) -> Sums:
        losses = sample_losses(outputs.logits, outputs.labels)
        slopes = sample_slopes(outputs.logits, outputs.labels)
        columns = torch.stack([torch.ones_like(losses), losses, slopes], dim=1)
        count, loss, slope = environment_sums(columns, outputs.environments, outputs.num_environments).unbind(
            1
        )
        return {"count": count, "loss": loss, "slope": slope}

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        risk = mean_over_present(risks(totals), totals["count"])
        slopes = environment_means(totals["slope"], totals["count"])
        penalty = mean_over_present(slopes.square(), totals["count"])
        loss = (risk + self.weight(step) * penalty) * self.scale(step)
        return loss, {"risk": risk, "irm_penalty": penalty}

    def parameter_penalty(self, parameters: Iterable[nn.Parameter], step: int) -> Tensor | None:
        if not self.l2:
            return None
        return self.l2 * self.scale(step) * torch.stack([p.square().sum() for p in parameters]).sum()

    def resets_optimizer(self, step: int) -> bool:
        return self.reset_optimizer and step == self.warmup_steps and step > 0
