"""Empirical risk with weights against unequal sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from ..losses.closed_forms import class_shares
from .base import Objective, Outputs, Sums, labels_of
from .group_dro import GroupDRO
from .weighting import SAMPLES, weighted_mean

CLASS, ENVIRONMENT, GROUP = KINDS = ("class", "environment", "group")


@dataclass
class Reweighting(Objective):
    """The mean of `w_g l_i`, `w_g` in proportion to `n_g^(-power)`: rare classes, environments or groups
    (classes in environments) weigh more.

    Inverse sizes (`power=1`) are the baseline of Sagawa et al. 2020, arXiv:1911.08731, and of most papers on
    subpopulations; their square roots are half-way. Sizes are those of what is drawn: batches of equal
    environments leave the classes within them to be weighted. Weights have mean 1 over the drawn samples, so
    that the loss keeps its scale. A mixed sample has the mean of its classes' weights.

    Requirements:
        Classes, unless `by="environment"`. Sizes that differ in what is drawn: where the sampler has balanced
        them (`environment_proportions`) it is refused, as all weights would be 1.

    Relations:
        `environment_proportions="groups"` (or classes, or equal) draws rare groups more often instead: the
        same mean, other batches, and rare samples repeated. `CrossEntropy(class_weights=...)` weighs classes
        beneath any objective. `GroupDRO` finds weights by the groups' risks. `power=0` is `ERM`.

    Examples:
        >>> import torch
        >>> from hf_ood import Reweighting
        >>> objective = Reweighting(by="group")
        >>> objective.group_shares = torch.tensor([[0.4, 0.1], [0.1, 0.4]])  # environments x classes
        >>> objective.weights().tolist()  # a group of 40 % counts a quarter of one of 10 %
        [[0.625, 2.5], [2.5, 0.625]]
    """

    name: ClassVar[str] = "reweighting"
    equation: ClassVar[str] = (
        r"\frac{1}{n} \sum_i w_{g_i} \ell_i, \quad w_g \propto n_g^{-p}, \quad \frac{1}{n} \sum_i w_{g_i} = 1"
    )
    citation: ClassVar[str] = GroupDRO.citation
    linear: ClassVar[bool] = True
    sums_by_options: ClassVar[bool] = True

    by: str = option(GROUP, "Whose sizes count: class | environment | group (a class in an environment).")
    power: float = option(
        1.0,
        "1: inverse sizes; 0.5: inverse square roots (SubpopBench's ReWeight and SqrtReWeight).",
        search=Search(0.25, 1.0, "ours, around SubpopBench's 0.5 and 1"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by not in KINDS:
            raise ValueError(f"reweighting.by must be one of {', '.join(KINDS)}, not {self.by!r}.")
        if self.power <= 0:
            raise ValueError(f"reweighting.power must be positive, not {self.power:g}: 0 is erm.")

        self._made: tuple[Tensor | None, Tensor] | None = None

    def build(self, feature_size: int, num_labels: int, present: Tensor) -> None:
        weights, shares = self.weights(), self.group_shares
        drawn = weights[shares > 0] if shares is not None else weights
        if len(drawn) > 1 and bool((drawn - 1).abs().max() < 1e-9):
            raise ValueError(
                f"reweighting.by={self.by!r}: what is drawn has the same share of every {self.by}, so all "
                "weights would be 1. Draw samples as the data have them (environment_proportions='natural'), "
                "weigh by something else, or use erm."
            )

    def weights(self) -> Tensor:
        """What a sample counts, by environment and class, float64 [E, C]; 0 where there is none.

        Raises `ValueError` before `group_shares` are known, and by classes that there are not.
        """
        shares = self.group_shares
        if shares is None:
            raise ValueError("reweighting weighs by sizes: set group_shares, [E, C], first.")
        if self.by != ENVIRONMENT and shares.shape[1] == 1:
            raise ValueError(
                f"reweighting.by={self.by!r} counts classes, and the data have none: set it to "
                f"{ENVIRONMENT!r}."
            )
        sizes = {
            CLASS: shares.sum(0, keepdim=True).expand_as(shares),
            ENVIRONMENT: shares.sum(1, keepdim=True).expand_as(shares),
            GROUP: shares,
        }[self.by]
        weights = torch.where(shares > 0, sizes.clamp_min(1e-300).pow(-self.power), 0)
        return weights / (shares * weights).sum()

    def _ready(self, like: Tensor) -> Tensor:
        """The weights where the losses are, computed once."""
        if self._made is None or self._made[0] is not self.group_shares:
            self._made = self.group_shares, self.weights().to(like)
        return self._made[1].to(like)

    def sums(self, outputs: Outputs) -> Sums:
        weights = self._ready(outputs.losses)[outputs.environments]  # [B, C]
        if weights.shape[1] > 1:
            labels = labels_of(outputs)
            known = labels[:, : weights.shape[1]] if labels.dim() == 2 else labels
            weights = weights * class_shares(known, weights)
        return outputs.added_up(loss=outputs.losses * weights.sum(1), unweighted=outputs.losses)

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        risk = weighted_mean(totals, "unweighted", SAMPLES)
        return weighted_mean(totals, "loss", SAMPLES), {"risk": risk}
