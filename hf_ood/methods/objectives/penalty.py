"""Risk plus a penalty whose weight rises after a warm-up: the form of IRM, V-REx and many others."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Objective, Sums
from .functional import mean_of_means


@dataclass
class PenaltyObjective(Objective):
    """`(mean_e R_e + weight * penalty + l2 * ||parameters||^2) * scale`; a subclass gives the penalty."""

    min_environments: ClassVar[int] = 2
    warmups: ClassVar[tuple[str, ...]] = ("warmup_steps",)

    penalty_weight: float = option(1.0, "Weight of the penalty after the warm-up.")
    warmup_steps: float = option(
        0.1,
        "Optimizer steps before the penalty gets its weight; below 1, a share of the training's (DomainBed: "
        "500 of 5,000).",
        search=Search(0.0002, 0.9, "DomainBed: 1 to 10,000 of 5,000 steps", log=True),
    )
    warmup_penalty_weight: float = option(
        1.0, "Weight of the penalty during the warm-up (IRM's code, DomainBed: 1)."
    )
    divisor: float = option(
        1.0,
        "Divide the whole loss by this after the warm-up (DomainBed: 1, never); 0: by the penalty's weight "
        "if that exceeds 1. Adam remembers the warm-up's gradients, so it matters.",
    )
    reset_optimizer: bool = option(
        False, "Clear the optimizer's moments when the warm-up ends (IRM's code: no; DomainBed: yes)."
    )

    def risk(self, totals: Sums) -> Tensor:
        """What the penalty is added to -> []: the mean risk over environments."""
        return mean_of_means(totals["loss"], totals["count"])

    @abstractmethod
    def penalty(self, totals: Sums) -> Tensor:
        """The penalty at the totals -> []."""

    def weight(self, step: int) -> float:
        return self.penalty_weight if self._warm(step) else self.warmup_penalty_weight

    def scale(self, step: int) -> float:
        if not self.divisor:
            return 1 / max(self.weight(step), 1.0)
        return 1 / self.divisor if self._warm(step) else 1.0

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        risk = self.risk(totals)
        penalty = self.penalty(totals)
        loss = (risk + self.weight(step) * penalty) * self.scale(step)
        return loss, {"risk": risk, f"{self.name}_penalty": penalty}

    def resets_optimizer(self, step: int) -> bool:
        return self.reset_optimizer and step == self.steps_of("warmup_steps") and step > 0

    def _warm(self, step: int) -> bool:
        return step >= self.steps_of("warmup_steps")
