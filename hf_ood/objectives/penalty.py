"""Risk plus a penalty whose weight rises after a warm-up: the form of IRM, V-REx and many others."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..options import Search, option
from .base import Objective, Sums, risks
from .functional import mean_over_present


@dataclass
class PenaltyObjective(Objective):
    """`(mean_e R_e + weight * penalty + l2 * ||parameters||^2) * scale`; a subclass gives the penalty."""

    min_environments: ClassVar[int] = 2

    penalty_weight: float = option(1.0, "Weight of the penalty after the warm-up.")
    warmup_steps: int = option(
        500,
        "Optimizer steps before the penalty gets its weight (DomainBed: 500).",
        search=Search(1, 10_000, "DomainBed", log=True),
    )
    warmup_penalty_weight: float = option(
        1.0, "Weight of the penalty during the warm-up (IRM's code, DomainBed: 1)."
    )
    divisor: float = option(
        0.0,
        "Divide the whole loss by this after the warm-up; 0: by the penalty's weight if that exceeds 1, as "
        "IRM's code does (DomainBed: 1, never). Adam remembers the warm-up's gradients, so it matters.",
    )
    reset_optimizer: bool = option(
        False, "Clear the optimizer's moments when the warm-up ends (IRM's code: no; DomainBed: yes)."
    )

    @abstractmethod
    def penalty(self, totals: Sums) -> Tensor:
        """The penalty at the totals -> []."""

    def weight(self, step: int) -> float:
        return self.penalty_weight if step >= self.warmup_steps else self.warmup_penalty_weight

    def scale(self, step: int) -> float:
        if not self.divisor:
            return 1 / max(self.weight(step), 1.0)
        return 1 / self.divisor if step >= self.warmup_steps else 1.0

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        risk = mean_over_present(risks(totals), totals["count"])
        penalty = self.penalty(totals)
        loss = (risk + self.weight(step) * penalty) * self.scale(step)
        return loss, {"risk": risk, f"{self.name}_penalty": penalty}

    def resets_optimizer(self, step: int) -> bool:
        return self.reset_optimizer and step == self.warmup_steps and step > 0
