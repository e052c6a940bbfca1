"""Risk distribution matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import Outputs, Sums, risks
from .fourier import fourier_features, normal_quantiles
from .functional import environment_means, environment_sums
from .penalty import PenaltyObjective

FEATURES, MOMENTS = MATCHES = ("features", "moments")
FREQUENCIES = 64  # of each kernel: on values [B, 1] they are spread evenly, not drawn


@dataclass
class RDM(PenaltyObjective):
    """`mean_e R_e + weight * MMD^2(losses of the worst environment, losses of all)`, and `variance_weight`
    times the variances of both.

    Reference: Nguyen et al. 2024, arXiv:2310.18598; weights and warm-up of their code (its learning rate
    after the warm-up is a matter of the trainer's schedule here), and its kernels but for those that only see
    losses closer than 0.1. A loss is one number, so an even grid of frequencies serves them: the discrepancy
    is that of pairs to 3 %, its gradient to a cosine of 0.99, and all is a function of sums.
    `match="moments"` compares mean and variance in place of whole distributions.

    Requirements:
        Two environments in the training data.

    Relations:
        `VREx` compares mean losses alone; `GroupDRO` weighs the worst environment instead of pulling it
        towards the others.

    Examples:
        >>> import torch
        >>> from hf_ood import RDM
        >>> from hf_ood.methods.objectives import Outputs
        >>> where = torch.tensor([0, 0, 1, 1])
        >>> losses = torch.tensor([0.0, 2.0, 1.0, 1.0])  # equal means, other distributions
        >>> outputs = Outputs(torch.zeros(4, 2), None, where, 2, given_losses=losses)
        >>> objective = RDM(match="moments", warmup_steps=0)
        >>> _, parts = objective.loss(objective.sums(outputs), step=0)
        >>> parts["rdm_penalty"].item()  # (1 - 0.5)^2
        0.25
    """

    name: ClassVar[str] = "rdm"
    equation: ClassVar[str] = (
        r"\frac{1}{E} \sum_e R_e + \lambda \operatorname{MMD}^2(\ell_w, \ell) + \kappa \left[ "
        r"\operatorname{Var}(\ell_w) + \operatorname{Var}(\ell) \right], \quad w = \arg\max_e R_e"
    )
    citation: ClassVar[str] = """\
@inproceedings{nguyen2024domain,
  title = {Domain Generalisation via Risk Distribution Matching},
  author = {Nguyen, Toan and Do, Kien and Duong, Bao and Nguyen, Thin},
  booktitle = {IEEE/CVF Winter Conference on Applications of Computer Vision},
  note = {arXiv:2310.18598},
  year = {2024}
}"""

    penalty_weight: float = option(
        5.0,
        "Weight of the discrepancy after the warm-up (authors' code: 5).",
        search=Search(0.1, 10.0, "the authors' code"),
    )
    warmup_steps: float = option(
        0.3,
        "Optimizer steps before the penalties get their weight; below 1, a share of the training's (authors' "
        "code: 1,500 of 5,000).",
        search=Search(0.16, 0.54, "the authors' code: 800 to 2,700 of 5,000 steps"),
    )
    warmup_penalty_weight: float = option(0.0, "Weight of the penalty during the warm-up (authors' code: 0).")
    variance_weight: float = option(
        0.004,
        "Weight of the variances of losses after the warm-up (authors' code: 0.004, on some data 0).",
        search=Search(0.0, 0.007, "the authors' code: 0, or 0.001 to 0.007"),
    )
    gammas: list[float] = option(
        [1e-3, 1e-2, 1e-1, 1.0, 10.0],
        "Inverse squared widths of the kernels of losses that are added up (authors' code: to 1,000).",
    )
    match: str = option(FEATURES, "features (whole distributions, by kernels) | moments (mean and variance).")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.match not in MATCHES:
            raise ValueError(f"rdm.match must be one of {', '.join(MATCHES)}, not {self.match!r}.")
        if self.variance_weight < 0:
            raise ValueError(f"rdm.variance_weight must be 0 or more, not {self.variance_weight:g}.")
        self.frequencies = normal_quantiles(FREQUENCIES)

    def sums(self, outputs: Outputs) -> Sums:
        losses, where = outputs.losses, (outputs.environments, outputs.num_environments)
        found = outputs.added_up(loss=losses, squared_loss=losses.square())
        if self.match == FEATURES:
            self.frequencies = self.frequencies.to(losses)
            found["waves"] = environment_sums(
                fourier_features(losses[:, None], self.frequencies, self.gammas), *where
            )
        return found

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = super().loss(totals, step)
        count, mean, second = self._moments(totals)
        variance = ((second - mean.square()) * count / (count - 1).clamp_min(1)).sum()
        if self._warm(step):
            loss = loss + self.variance_weight * self.scale(step) * variance
        return loss, {**parts, "loss_variance": variance}

    def penalty(self, totals: Sums) -> Tensor:
        if self.match == MOMENTS:
            _, mean, second = self._moments(totals)
            variance = second - mean.square()
            return (mean[0] - mean[1]).square() + (variance[0] - variance[1]).square()
        worst, everywhere = self._worst_and_all(totals, "waves")
        return (worst - everywhere).square().sum()

    def _moments(self, totals: Sums) -> tuple[Tensor, Tensor, Tensor]:
        """Count, mean and mean square of the losses in the worst environment and in all -> [2] each."""
        counts = totals["count"]
        count = torch.stack([_at(counts, self._worst(totals)), counts.sum()])
        mean, second = (torch.stack(self._worst_and_all(totals, name)) for name in ("loss", "squared_loss"))
        return count, mean, second

    def _worst_and_all(self, totals: Sums, name: str) -> tuple[Tensor, Tensor]:
        """The mean of what the totals hold under `name` in the worst environment, and over all samples."""
        sums, counts = totals[name], totals["count"]
        worst = _at(environment_means(sums, counts), self._worst(totals))
        return worst, sums.sum(0) / counts.sum().clamp_min(1)

    @staticmethod
    def _worst(totals: Sums) -> Tensor:
        return torch.where(totals["count"] > 0, risks(totals).detach(), -torch.inf).argmax()


def _at(values: Tensor, number: Tensor) -> Tensor:
    """The entry of `values` [E, ...] with a number that is a tensor [], which stays where it is."""
    return values.index_select(0, number[None])[0]
