"""Invariant risk minimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..options import Search, option
from .base import Outputs, Sums
from .functional import environment_means, environment_sums, mean_over_present, sample_losses, sample_slopes
from .penalty import PenaltyObjective


@dataclass
class IRM(PenaltyObjective):
    """IRMv1: `mean_e R_e + weight * mean_e (dR_e/dw at w = 1)^2 + l2 * ||parameters||^2`.

    Reference: Arjovsky et al. 2019, arXiv:1907.02893, and the report, equation 9. The slope has a closed
    form in the logits, so an IRM step costs what an ERM step costs. Defaults of weight and warm-up are
    DomainBed's, which multiplies the slopes of two halves of a batch instead of squaring that of the whole;
    the paper's own for its Colored MNIST, chosen on the test environment, are weight 91257, warm-up 190 of
    501 steps, l2 0.0011.
    """

    name: ClassVar[str] = "irm"
    equation: ClassVar[str] = (
        r"\frac{1}{E} \sum_e R_e + \lambda \, \frac{1}{E} \sum_e "
        r"\left( \left. \frac{d R_e(w \cdot f)}{d w} \right|_{w = 1} \right)^2"
    )
    citation: ClassVar[str] = """\
@article{arjovsky2019invariant,
  title = {Invariant Risk Minimization},
  author = {Arjovsky, Martin and Bottou, L{\\'e}on and Gulrajani, Ishaan and Lopez-Paz, David},
  journal = {arXiv preprint arXiv:1907.02893},
  year = {2019}
}"""

    penalty_weight: float = option(
        100.0,
        "Weight of the penalty after the warm-up (DomainBed: 100).",
        search=Search(0.1, 1e5, "DomainBed", log=True),
    )

    def sums(self, outputs: Outputs) -> Sums:
        losses = sample_losses(outputs.logits, outputs.labels)
        slopes = sample_slopes(outputs.logits, outputs.labels)
        columns = torch.stack([torch.ones_like(losses), losses, slopes], dim=1)
        count, loss, slope = environment_sums(columns, outputs.environments, outputs.num_environments).unbind(
            1
        )
        return {"count": count, "loss": loss, "slope": slope}

    def penalty(self, totals: Sums) -> Tensor:
        slopes = environment_means(totals["slope"], totals["count"])
        return mean_over_present(slopes.square(), totals["count"])
