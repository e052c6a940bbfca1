"""Spectral decoupling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Outputs, Sums
from .functional import environment_sums
from .penalty import PenaltyObjective
from .weighting import SAMPLES, check_weighting, weighted_mean


@dataclass
class SD(PenaltyObjective):
    """The mean loss `+ weight * mean squared logit`: confidence in one feature starves no other.

    Reference: Pezeshki et al. 2021, arXiv:2011.09468. It uses no environments; both means are over samples,
    as in the paper and in DomainBed, or with `weighting="environments"` over environments of the mean in
    each. Default weight and no warm-up as in DomainBed.

    Requirements:
        None: it works with a single environment.

    Relations:
        `ERM` with a penalty on confidence. Label smoothing (`CrossEntropy(label_smoothing=0.1)`) also limits
        confidence, through the labels. `RSC` forces other features into use by hiding the strongest.

    Examples:
        >>> import torch
        >>> from hf_ood import SD
        >>> from hf_ood.methods.objectives import Outputs
        >>> logits = torch.tensor([[3.0, 1.0], [0.0, 0.0]])
        >>> outputs = Outputs(logits, torch.tensor([0, 1]), torch.tensor([0, 0]), num_environments=1)
        >>> objective = SD(penalty_weight=0.1)
        >>> _, parts = objective.loss(objective.sums(outputs), step=0)
        >>> parts["sd_penalty"].item()  # (9 + 1 + 0 + 0) / 4
        2.5
    """

    name: ClassVar[str] = "sd"
    equation: ClassVar[str] = r"\frac{1}{n} \sum_i \ell_i + \lambda \, \frac{1}{n C} \sum_{i, c} f_{ic}^2"
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
    warmup_steps: float = option(
        0.0, "Optimizer steps before the penalty gets its weight; below 1, a share of the training's."
    )

    weighting: str = option(
        SAMPLES, "What weighs the same in both means: samples (paper, DomainBed) | environments."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weighting("sd.weighting", self.weighting)

    def sums(self, outputs: Outputs) -> Sums:
        squares = outputs.logits.square().mean(1)
        return super().sums(outputs) | {
            "squared_logits": environment_sums(squares, outputs.environments, outputs.num_environments)
        }

    def risk(self, totals: Sums) -> Tensor:
        return weighted_mean(totals, "loss", self.weighting)

    def penalty(self, totals: Sums) -> Tensor:
        return weighted_mean(totals, "squared_logits", self.weighting)
