"""Spectral decoupling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..options import Search, option
from .base import Outputs, Sums
from .functional import environment_means, environment_sums, mean_over_present
from .penalty import PenaltyObjective


@dataclass
class SD(PenaltyObjective):
    """`mean_e R_e + weight * mean squared logit`: confidence in one feature starves no other.

    Reference: Pezeshki et al. 2021, arXiv:2011.09468. It uses no environments beyond weighing them the same.
    Default weight and no warm-up as in DomainBed.
    """

    name: ClassVar[str] = "sd"
    equation: ClassVar[str] = (
        r"\frac{1}{E} \sum_e R_e + \lambda \, \frac{1}{E} \sum_e \operatorname{mean}_{i \in e,\, c} f_{ic}^2"
    )
    citation: ClassVar[str] = """\
@inproceedings{pezeshki2021gradient,
  title = {Gradient Starvation: A Learning Proclivity in Neural Networks},
  author = {Pezeshki, Mohammad and Kaba, S{\\'e}kou-Oumar and Bengio, Yoshua and Courville, Aaron
            and Precup, Doina and Lajoie, Guillaume},
  booktitle = {Advances in Neural Information Processing Systems},
  note = {arXiv:2011.09468},
  year = {2021}
}"""
    linear: ClassVar[bool] = True
    min_environments: ClassVar[int] = 1

    penalty_weight: float = option(
        0.1,
        "Weight of the mean squared logit (DomainBed: 0.1).",
        search=Search(1e-5, 0.1, "DomainBed", log=True),
    )
    warmup_steps: int = option(0, "Optimizer steps before the penalty gets its weight.")

    def sums(self, outputs: Outputs) -> Sums:
        squares = outputs.logits.square().mean(1)
        return super().sums(outputs) | {
            "squared_logits": environment_sums(squares, outputs.environments, outputs.num_environments)
        }

    def penalty(self, totals: Sums) -> Tensor:
        return mean_over_present(
            environment_means(totals["squared_logits"], totals["count"]), totals["count"]
        )
