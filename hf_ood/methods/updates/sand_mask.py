"""More where environments agree on the gradient, in sign and in size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import Direction, Update, Window
from .masks import masked_direction, sign_agreement


def sand_mask(gradients: Tensor, tau: float, k: float) -> Tensor:
    """`max(0, tanh(k / var_e * (agreement - tau)))`: [E, ...] -> [...] in 0..1; one environment: 1.

    The variance over environments is the unbiased one. Source: Shahtalebi et al. 2021, arXiv:2106.02266.
    """
    if len(gradients) == 1:
        return torch.ones_like(gradients[0])
    excess = sign_agreement(gradients) - tau
    return torch.where(excess > 0, torch.tanh(k * excess / gradients.var(0)), 0)


@dataclass
class SANDMask(Update):
    """The mean gradient, each weight's scaled by how far environments agree on its sign and size.

    Reference: Shahtalebi et al. 2021, arXiv:2106.02266. What is let through of a parameter is divided by
    its share, as in DomainBed. Its default `tau` of 1 lets nothing through, ever; ours is the middle of the
    range that its sweeps draw from, `k` is its default. Gradients are small and their variance smaller, so
    the mask is almost a switch unless `k` is small too.

    Requirements:
        Two environments in the training data; the objective `ERM` or `SD`.

    Relations:
        `ANDMask` is the same with a threshold, and without a look at sizes.

    Examples:
        >>> import torch
        >>> from hf_ood.methods.updates.sand_mask import sand_mask
        >>> gradients = torch.tensor([[1.0, -2.0, 3.0], [2.0, 1.0, 9.0]])  # two environments, three weights
        >>> sand_mask(gradients, tau=0.5, k=1.0)
        tensor([0.7616, 0.0000, 0.0278])
    """

    name: ClassVar[str] = "sand_mask"
    equation: ClassVar[str] = (
        r"m \odot \frac{1}{E} \sum_e \nabla R_e, \quad m = \max\left(0, \tanh\left(\frac{k}"
        r"{\operatorname{Var}_e \nabla R_e} \left(\left| \tfrac{1}{E} \sum_e \operatorname{sign} \nabla R_e "
        r"\right| - \tau\right)\right)\right)"
    )
    citation: ClassVar[str] = """\
@misc{shahtalebi2021sand,
  title = {{SAND}-mask: An Enhanced Gradient Masking Strategy for the Discovery of Invariances in Domain
           Generalization},
  author = {Shahtalebi, Soroosh and Gagnon-Audet, Jean-Christophe and Laleh, Touraj and Faramarzi, Mojtaba
            and Ahuja, Kartik and Rish, Irina},
  note = {arXiv:2106.02266},
  year = {2021}
}"""
    by_environment: ClassVar[bool] = True
    min_environments: ClassVar[int] = 2

    tau: float = option(
        0.5,
        "Absolute mean sign above which a gradient is let through (below 1, which is DomainBed's).",
        search=Search(0.0, 0.99, "DomainBed, below 1"),
    )
    k: float = option(
        10.0,
        "How fast agreement opens the mask (DomainBed: 10).",
        search=Search(1e-3, 1e5, "DomainBed", log=True),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.tau < 1:
            raise ValueError(
                f"sand_mask.tau must lie in 0..1, without 1, which lets nothing through; not {self.tau}."
            )
        if not self.k > 0:
            raise ValueError(f"sand_mask.k must be positive, not {self.k}.")

    def __call__(self, window: Window) -> Direction:
        return masked_direction(window, self.name, lambda gradients: sand_mask(gradients, self.tau, self.k))
