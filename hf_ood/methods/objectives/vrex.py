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

    Requirements:
        Two environments in the training data.

    Relations:
        `GroupDRO` and `CVaR` weigh the worst risks more and stay between the risks that there are; the
        variance extrapolates beyond them. `Fishr` compares variances of gradients where this compares risks.
        `IRM` is stronger in theory and harder to tune.

    Examples:
        >>> import torch
        >>> from hf_ood import VREx
        >>> objective = VREx(penalty_weight=10.0, warmup_steps=0)
        >>> totals = {"count": torch.tensor([2.0, 2.0]), "loss": torch.tensor([0.4, 1.2])}
        >>> loss, parts = objective.loss(totals, step=0)
        >>> {name: round(value.item(), 3) for name, value in parts.items()}
        {'risk': 0.4, 'vrex_penalty': 0.04}
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
