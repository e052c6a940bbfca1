"""Risk extrapolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..options import option
from .base import Objective, Sums, risks
from .functional import mean_over_present, vrex_penalty


@dataclass
class VREx(Objective):
    """`mean_e R_e + weight * Var_e R_e` (Krueger et al. 2021, arXiv:2003.00688, equation 8).

    Defaults of weight and warm-up are DomainBed's.
    """

    name: ClassVar[str] = "vrex"
    min_environments: ClassVar[int] = 2

    penalty_weight: float = option(10.0, "Weight of the variance after the warm-up (DomainBed: 10).")
    warmup_steps: int = option(500, "Optimizer steps before the penalty gets its weight (DomainBed: 500).")
    warmup_penalty_weight: float = option(1.0, "Weight of the variance during the warm-up (DomainBed: 1).")
    divide_by_weight: bool = option(
        True, "Divide the whole loss by the penalty's weight where that exceeds 1, as the paper's code does."
    )

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        weight = self.penalty_weight if step >= self.warmup_steps else self.warmup_penalty_weight
        values = risks(totals)
        risk = mean_over_present(values, totals["count"])
        penalty = vrex_penalty(values[totals["count"] > 0])
        loss = risk + weight * penalty
        if self.divide_by_weight:
            loss = loss / max(weight, 1.0)
        return loss, {"risk": risk, "vrex_penalty": penalty}
