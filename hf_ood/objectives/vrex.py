"""Risk extrapolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..options import option
from .base import Sums, risks
from .functional import vrex_penalty
from .penalty import PenaltyObjective


@dataclass
class VREx(PenaltyObjective):
    """`mean_e R_e + weight * Var_e R_e` (Krueger et al. 2021, arXiv:2003.00688, equation 8).

    Defaults of weight and warm-up are DomainBed's.
    """

    name: ClassVar[str] = "vrex"

    penalty_weight: float = option(10.0, "Weight of the variance after the warm-up (DomainBed: 10).")

    def penalty(self, totals: Sums) -> Tensor:
        return vrex_penalty(risks(totals)[totals["count"] > 0])
