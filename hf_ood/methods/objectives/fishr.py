"""Gradient variances that agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import Outputs, Sums, features_of
from .functional import environment_products, feature_variances, head_inputs, variance_distance
from .penalty import PenaltyObjective
from .weighting import SAMPLES, check_weighting, weighted_mean


@dataclass
class Fishr(PenaltyObjective):
    """The mean loss `+ weight * mean_e ||v_e - mean v||^2`, v_e the variance of the samples' head gradients.

    Reference: Rame et al. 2022, arXiv:2109.02934, with the mean over coordinates of their DomainBed code
    (that for Colored MNIST adds up). On a linear head a sample's gradient is an outer product, so the
    variances are functions of sums. They are smoothed over steps by a moving average that starts at the
    first step's. Defaults are DomainBed's, and mean there what they mean here: its average is divided by
    1 - ema, so its gradient in a step's variances is `1 / (1 - ema)` times that of the penalty at the
    average, 20 times at 0.95, and so is ours. The value that is logged is the penalty's at the average itself
    (DomainBed's: 400 times that, once its average, which starts at zero, has grown). Without smoothing,
    `ema=0`, the factor is 1, as in their code for Colored MNIST.

    The mean loss is over samples, as in both of their codes; `weighting="environments"` takes the paper's
    equation, the mean over environments.

    Requirements:
        Two environments in the training data and a model that ends in a linear layer.

    Relations:
        `IGA` compares the gradients' means in all weights, at many times the cost; this compares their
        variances in the head. `VREx` and `IRM` compare one number of each environment, this one for every
        weight of the head.

    Examples:
        >>> import torch
        >>> from hf_ood import Fishr
        >>> from hf_ood.methods.objectives import Outputs
        >>> features = torch.tensor([[1.0], [1.0], [1.0], [-1.0]])
        >>> where = torch.tensor([0, 0, 1, 1])  # gradients vary in the second environment only
        >>> outputs = Outputs(torch.zeros(4, 2), torch.zeros(4).long(), where, 2, features)
        >>> objective = Fishr(warmup_steps=0, ema=0.0)
        >>> _, parts = objective.loss(objective.sums(outputs), step=0)
        >>> round(parts["fishr_penalty"].item(), 4)
        0.0078
    """

    name: ClassVar[str] = "fishr"
    equation: ClassVar[str] = (
        r"\frac{1}{n} \sum_i \ell_i + \lambda \, \frac{1}{E} \sum_e \lVert v_e - \bar v \rVert^2, "
        r"\quad v_e = \operatorname{Var}_{i \in e} \nabla_{\text{head}} \ell_i"
    )
    citation: ClassVar[str] = """\
@inproceedings{rame2022fishr,
  title = {Fishr: Invariant Gradient Variances for Out-of-Distribution Generalization},
  author = {Rame, Alexandre and Dancette, Corentin and Cord, Matthieu},
  booktitle = {International Conference on Machine Learning},
  note = {arXiv:2109.02934},
  year = {2022}
}"""
    needs_features: ClassVar[bool] = True

    penalty_weight: float = option(
        1000.0,
        "Weight of the penalty after the warm-up (DomainBed: 1000).",
        search=Search(10.0, 1e4, "DomainBed", log=True),
    )
    warmup_steps: float = option(
        0.3,
        "Optimizer steps before the penalty gets its weight; below 1, a share of the training's (DomainBed: "
        "1,500 of 5,000).",
        search=Search(0.0, 0.9, "DomainBed: 0 to 5,000 of 5,000 steps"),
    )
    warmup_penalty_weight: float = option(0.0, "Weight of the penalty during the warm-up (DomainBed: 0).")
    ema: float = option(
        0.95,
        "Share of the past in the moving average of variances (DomainBed: 0.95).",
        search=Search(0.9, 0.99, "DomainBed"),
    )
    weighting: str = option(
        SAMPLES,
        "What weighs the same in the mean loss: samples (their codes, DomainBed) | environments (paper).",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weighting("fishr.weighting", self.weighting)
        if not 0 <= self.ema < 1:
            raise ValueError(f"fishr.ema must lie in 0..1, without 1, not {self.ema}.")
        self.smoothed: Tensor | None = None  # [E, C, D + 1]
        self.seen: Tensor | None = None  # bool [E]: environments that have an average

    def start(self, total_steps: int) -> None:
        super().start(total_steps)
        self.smoothed = self.seen = None

    def sums(self, outputs: Outputs) -> Sums:
        where = (outputs.environments, outputs.num_environments)
        inputs, residuals = head_inputs(features_of(outputs)), outputs.residuals
        return super().sums(outputs) | {
            "gradients": environment_products(residuals, inputs, *where),
            "squared_gradients": environment_products(residuals.square(), inputs.square(), *where),
        }

    def update(self, totals: Sums, step: int) -> None:
        now, present = _variances(totals), totals["count"] > 0
        if self.smoothed is None or self.seen is None:
            self.smoothed, self.seen = now, present
            return
        before, seen = self.smoothed.to(now), self.seen.to(present.device)
        average = torch.where(_wide(seen), self.ema * before + (1 - self.ema) * now, now)
        self.smoothed, self.seen = torch.where(_wide(present), average, before), seen | present

    def risk(self, totals: Sums) -> Tensor:
        return weighted_mean(totals, "loss", self.weighting)

    def penalty(self, totals: Sums) -> Tensor:
        now = _variances(totals)
        value = now if self.smoothed is None else self.smoothed.to(now)
        amplified = now / (1 - self.ema)  # the slope in this step's variances
        return variance_distance(value.detach() + (amplified - amplified.detach()), totals["count"])

    def state_dict(self) -> dict[str, Tensor]:
        if self.smoothed is None or self.seen is None:
            return {}
        return {"smoothed": self.smoothed, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.smoothed, self.seen = state.get("smoothed"), state.get("seen")


def _variances(totals: Sums) -> Tensor:
    """Variance of the samples' gradients in each environment -> [E, C, D + 1]."""
    return feature_variances(totals["count"], totals["gradients"], totals["squared_gradients"])


def _wide(flags: Tensor) -> Tensor:
    return flags[:, None, None]
