"""Invariant risk minimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Outputs, Sums
from .functional import environment_means, mean_over_present
from .penalty import PenaltyObjective

SQUARED, UNBIASED = ESTIMATORS = ("squared", "unbiased")


@dataclass
class IRM(PenaltyObjective):
    """IRMv1: `mean_e R_e + weight * mean_e (dR_e/dw at w = 1)^2 + l2 * ||parameters||^2`.

    Reference: Arjovsky et al. 2019, arXiv:1907.02893, and the report, equation 9. The slope has a closed
    form in the logits, so an IRM step costs what an ERM step costs. Defaults of weight and warm-up are
    DomainBed's; the paper's own for its Colored MNIST, chosen on the test environment, are weight 91257,
    warm-up 190 of 501 steps, l2 0.0011. A weight above 1 divides the whole loss, as in the paper's code.

    `estimator` says how a batch estimates the squared slope of a risk. `squared` squares the batch's own, as
    the paper's code: exact on a full batch, on a mini-batch too large by the slopes' variance over n, which
    then is most of the penalty near an invariant solution. `unbiased` is the mean over pairs of different
    samples, `(S^2 - Q) / (n (n - 1))` with S the sum of the n samples' slopes and Q that of their squares:
    right on average for mini-batches, but at times negative, and a large weight then rewards chance. It is
    the mean over all ways to halve the batch of what DomainBed does with one, multiply the halves' slopes. An
    environment with one sample in the step is left out of it.

    Requirements:
        Two environments in the training data. Batches that are not too small, or `estimator="unbiased"`.

    Relations:
        `VREx` asks for equal risks, `IRM` for equal optimal classifiers: both penalties are 0 where every
        environment is fitted perfectly. `IBIRM` adds the bottleneck of `IBERM`. `EIIL` infers the
        environments that make this penalty largest.

    Examples:
        >>> import torch
        >>> from hf_ood import IRM
        >>> from hf_ood.methods.objectives import Outputs
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])  # right in environment 0, wrong in 1
        >>> outputs = Outputs(logits, torch.tensor([0, 1]), torch.tensor([0, 1]), num_environments=2)
        >>> objective = IRM(penalty_weight=100.0, warmup_steps=0)
        >>> loss, parts = objective.loss(objective.sums(outputs), step=0)
        >>> {name: round(value.item(), 3) for name, value in parts.items()}
        {'risk': 1.127, 'irm_penalty': 1.58}
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
    divisor: float = option(
        0.0,
        "Divide the whole loss by this after the warm-up; 0: by the penalty's weight if that exceeds 1, as "
        "the paper's code (DomainBed: 1, never). Adam remembers the warm-up's gradients, so it matters.",
    )
    estimator: str = option(
        SQUARED,
        "squared (the batch's slope, squared; for full batches) | unbiased (the mean over pairs of samples; "
        "for mini-batches; may be negative).",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.estimator not in ESTIMATORS:
            raise ValueError(
                f"{self.name}.estimator must be one of {', '.join(ESTIMATORS)}, not {self.estimator!r}."
            )

    def sums(self, outputs: Outputs) -> Sums:
        squares = {"squared_slope": outputs.slopes.square()} if self.estimator == UNBIASED else {}
        return outputs.added_up(loss=outputs.losses, slope=outputs.slopes, **squares)

    def penalty(self, totals: Sums) -> Tensor:
        count, slope = totals["count"], totals["slope"]
        if self.estimator == UNBIASED:
            pairs = (count * (count - 1)).clamp_min(1)
            return mean_over_present((slope.square() - totals["squared_slope"]) / pairs, count - 1)
        return mean_over_present(environment_means(slope, count).square(), count)
