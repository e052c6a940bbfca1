"""Risk extrapolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Sums, risks
from .functional import vrex_penalty
from .penalty import PenaltyObjective


@dataclass
class VREx(PenaltyObjective):
    """`mean_e R_e + weight * Var_e R_e` (Krueger et al. 2021, arXiv:2003.00688, equation 8).

    The paper adds the risks up, so its weight is E times ours. Weight and warm-up are by default those of
    DomainBed, which takes the mean too. As in the paper's code, a weight above 1 divides the whole loss.
    """

    name: ClassVar[str] = "vrex"
    equation: ClassVar[str] = r"\frac{1}{E} \sum_e R_e + \lambda \operatorname{Var}_e(R_e)"
    citation: ClassVar[str] = """\
@inproceedings{krueger2021out,
  title = {Out-of-Distribution Generalization via Risk Extrapolation (REx)},
  author = {Krueger, David and Caballero, Ethan and Jacobsen, Joern-Henrik and Zhang, Amy and Binas, Jonathan
            and Zhang, Dinghuai and Le Priol, Remi and Courville, Aaron},
  booktitle = {International Conference on Machine Learning},
  note = {arXiv:2003.00688},
  year = {2021}
}"""

    penalty_weight: float = option(
        10.0,
        "Weight of the variance after the warm-up (DomainBed: 10).",
        search=Search(0.1, 1e5, "DomainBed", log=True),
    )
    divisor: float = option(
        0.0,
        "Divide the whole loss by this after the warm-up; 0: by the penalty's weight if that exceeds 1, as "
        "the paper's code (DomainBed: 1, never). Adam remembers the warm-up's gradients, so it matters.",
    )

    def penalty(self, totals: Sums) -> Tensor:
        return vrex_penalty(risks(totals)[totals["count"] > 0])
