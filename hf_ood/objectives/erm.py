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
    equation: ClassVar[str] = r"\frac{1}{E} \sum_e R_e"
    citation: ClassVar[str] = """\
@inproceedings{vapnik1992principles,
  title = {Principles of Risk Minimization for Learning Theory},
  author = {Vapnik, Vladimir},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {4},
  year = {1992}
}"""
    linear: ClassVar[bool] = True

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return mean_over_present(risks(totals), totals["count"]), {}
