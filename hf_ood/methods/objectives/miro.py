"""Mutual-information regularisation with the network that the training started from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...options import Search, option
from .base import Objective, Outputs, Sums, features_of
from .functional import at_least_float32, environment_sums
from .weighting import SAMPLES, weighted_mean

LEAST_VARIANCE = 1e-5  # the authors' code


@dataclass
class MIRO(Objective):
    """The mean loss `+ weight * mean_i mean_c [(z_ic - z0_ic)^2 / v_c + log v_c] / 2`: features z stay where
    they tell the features z0 of the network at its start, a frozen copy of which runs beside it.

    The second term is, but for a constant, the mean negative log-likelihood of z0 under a normal distribution
    around z with variances v_c that train along: a bound on the mutual information of z and z0.

    Reference: Cha et al. 2022, arXiv:2203.10789; the mean encoder is the identity and the variances are one
    for each channel, `softplus(b_c) + 1e-5`, as in the authors' code, and so are weight, first variance and
    learning rate. They add up the term over the outputs of a ResNet's stem and four stages; here it is of one
    layer, the features that the last linear layer sees. The variances have no weight decay. Where they fall
    below 1 the term, and with it the logged loss, may be negative.

    Requirements:
        A pretrained model that ends in a linear layer, of which more than that layer trains. Each step costs
        a second forward pass, in evaluation mode: with `freeze_batch_norm`, as the authors', both passes
        normalise alike, and dropout before the last layer counts as distance. Checkpoints hold the frozen
        copy. Networks divided by FSDP are refused.

    Relations:
        `l2_sp` of the arguments holds the weights back, this only what they do to features.
        With `swad`, as in the paper: `miro+swad`.

    Examples:
        >>> import torch
        >>> from hf_ood import MIRO
        >>> from hf_ood.methods.objectives import Outputs
        >>> objective = MIRO(weight=1.0, initial_variance=1.0)
        >>> objective.build(feature_size=3, num_labels=2, present=torch.tensor([True]))
        >>> now, start = torch.full((4, 3), 2.0), torch.zeros(4, 3)
        >>> where = torch.zeros(4, dtype=torch.int64)
        >>> outputs = Outputs(torch.zeros(4, 2), where, where, 1, now, start_features=start)
        >>> _, parts = objective.loss(objective.sums(outputs), step=0)
        >>> round(parts["miro_penalty"].item(), 4)  # 2^2 / 1 / 2
        2.0
    """

    name: ClassVar[str] = "miro"
    equation: ClassVar[str] = (
        r"\frac{1}{n} \sum_i \ell_i + \lambda \min_v \frac{1}{n} \sum_i \frac{1}{2 D} \sum_c "
        r"\left[ \frac{(z_{ic} - z^0_{ic})^2}{v_c} + \log v_c \right]"
    )
    citation: ClassVar[str] = """\
@inproceedings{cha2022domain,
  title = {Domain Generalization by Mutual-Information Regularization with Pre-trained Models},
  author = {Cha, Junbum and Lee, Kyungjae and Park, Sungrae and Chun, Sanghyuk},
  booktitle = {European Conference on Computer Vision},
  note = {arXiv:2203.10789},
  year = {2022}
}"""
    linear: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True
    needs_start: ClassVar[bool] = True
    moves_features: ClassVar[bool] = True

    weight: float = option(
        0.1,
        "Weight of the term (authors' code: 0.1).",
        search=Search(0.001, 1.0, "the authors' code: 0.001 to 1, by data set and pretraining", log=True),
    )
    initial_variance: float = option(0.1, "Variance of every channel at the start (authors' code: 0.1).")
    learning_rate_factor: float = option(
        10.0, "The variances' learning rate, in multiples of the network's (authors' code: 10)."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.initial_variance <= LEAST_VARIANCE:
            raise ValueError(
                f"{self.name}.initial_variance must be above {LEAST_VARIANCE:g}, not "
                f"{self.initial_variance:g}."
            )
        if self.weight < 0:
            raise ValueError(f"{self.name}.weight must be 0 or more, not {self.weight:g}.")
        self.raw_variance: nn.Parameter | None = None

    def build(self, feature_size: int, num_labels: int, present: Tensor) -> None:
        first = self.initial_variance - LEAST_VARIANCE
        inverse = first + math.log(-math.expm1(-first))  # of softplus
        self.raw_variance = nn.Parameter(torch.full((feature_size,), inverse, device=present.device))

    def parameters(self) -> list[nn.Parameter]:
        return [] if self.raw_variance is None else [self.raw_variance]

    def learning_rate(self, main: float) -> float:
        return self.learning_rate_factor * main

    def variances(self) -> Tensor:
        """The variance of each feature -> [D]. Raises `RuntimeError` before `build`."""
        if self.raw_variance is None:
            raise RuntimeError(
                f"{self.name} has no variances yet: call build(feature_size, num_labels, present)."
            )
        return F.softplus(self.raw_variance) + LEAST_VARIANCE

    def sums(self, outputs: Outputs) -> Sums:
        features, start = features_of(outputs), start_features_of(outputs)
        variances = self.variances()
        distances = (at_least_float32(features) - at_least_float32(start)).square() / variances
        terms = (distances.mean(1) + variances.log().mean()) / 2
        where = (outputs.environments, outputs.num_environments)
        return super().sums(outputs) | {"information": environment_sums(terms, *where)}

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        penalty = weighted_mean(totals, "information", SAMPLES)
        return weighted_mean(totals, "loss", SAMPLES) + self.weight * penalty, {"miro_penalty": penalty}

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.raw_variance is None else {"raw_variance": self.raw_variance.detach()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if self.raw_variance is not None:
            self.raw_variance.copy_(state["raw_variance"])


def start_features_of(outputs: Outputs) -> Tensor:
    """The features of the network at its start, [B, D]. Raises `ValueError` where nobody computed them."""
    if outputs.start_features is None:
        raise ValueError(
            "This objective compares features with those of the network at its start: give Outputs(..., "
            "features=[B, D], start_features=[B, D])."
        )
    return outputs.start_features
