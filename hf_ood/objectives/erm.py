"""Empirical risk minimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import Objective, Sums, risks
from .functional import mean_over_present


@dataclass
class ERM(Objective):
    """The mean risk: `mean_e R_e` (Vapnik 1992).

    Environments weigh the same, whatever their sizes; with environments in equal parts in every batch, the
    sampler's default, this is the mean over samples.
    """

    name: ClassVar[str] = "erm"
    linear: ClassVar[bool] = True

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return mean_over_present(risks(totals), totals["count"]), {}
