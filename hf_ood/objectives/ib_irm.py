"""Information bottleneck IRM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..options import Search, option
from .base import Outputs, Sums
from .ib_erm import IBERM, bottleneck, moment_sums
from .irm import IRM


@dataclass
class IBIRM(IRM):
    """IRM's loss `+ bottleneck_weight * mean_e,d Var_e(feature d)` from the end of the warm-up on.

    Reference: Ahuja et al. 2021, arXiv:2106.06607. Defaults are DomainBed's. The whole is divided by IRM's
    weight, as in IRM.
    """

    name: ClassVar[str] = "ib_irm"
    equation: ClassVar[str] = (
        f"{IRM.equation} " + r"+ \gamma \, \frac{1}{E D} \sum_{e, d} \operatorname{Var}_e(z_d)"
    )
    citation: ClassVar[str] = IBERM.citation
    needs_features: ClassVar[bool] = True

    bottleneck_weight: float = option(
        100.0,
        "Weight of the variance after the warm-up (DomainBed: 100).",
        search=Search(0.1, 1e5, "DomainBed", log=True),
    )

    def sums(self, outputs: Outputs) -> Sums:
        return super().sums(outputs) | moment_sums(outputs)

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = super().loss(totals, step)
        variance = bottleneck(totals)
        weight = self.bottleneck_weight if step >= self.warmup_steps else 0.0
        return loss + weight * self.scale(step) * variance, {**parts, "bottleneck": variance}
