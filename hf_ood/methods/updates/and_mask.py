"""Only where environments agree on the sign of the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Direction, Update, Window
from .masks import masked_direction, sign_agreement


def and_mask(gradients: Tensor, tau: float) -> Tensor:
    """1 where the absolute mean sign is at least `tau`, else 0: [E, ...] -> [...].

    Source: Parascandolo et al. 2021, arXiv:2009.00329, section 3.
    """
    # The slack keeps 4 signs against 1 at 0.6: a mean one rounding below the threshold is that threshold.
    return (sign_agreement(gradients) >= tau - 1e-6).to(gradients)


@dataclass
class ANDMask(Update):
    """The mean gradient of the weights on whose sign the environments agree; the others stay.

    Reference: Parascandolo et al. 2021, arXiv:2009.00329. What is let through of a parameter is divided by
    its share, as in the paper's code and DomainBed. Default as DomainBed's: all environments have to agree.
    A sign has no digits: rounding decides where an environment's gradient is almost 0.

    Requirements:
        Two environments in the training data; the objective `ERM` or `SD`.

    Relations:
        `SANDMask` replaces the threshold by a smooth mask that also looks at the gradients' variance.

    Examples:
        >>> import torch
        >>> from hf_ood.methods.updates.and_mask import and_mask
        >>> gradients = torch.tensor([[1.0, -2.0, 3.0], [2.0, 1.0, 4.0]])  # two environments, three weights
        >>> and_mask(gradients, tau=1.0)
        tensor([1., 0., 1.])
    """

    name: ClassVar[str] = "and_mask"
    equation: ClassVar[str] = (
        r"m \odot \frac{1}{E} \sum_e \nabla R_e, \quad "
        r"m = \left[\, \left| \tfrac{1}{E} \sum_e \operatorname{sign} \nabla R_e \right| \ge \tau \,\right]"
    )
    citation: ClassVar[str] = """\
@inproceedings{parascandolo2021learning,
  title = {Learning Explanations that are Hard to Vary},
  author = {Parascandolo, Giambattista and Neitz, Alexander and Orvieto, Antonio and Gresele, Luigi
            and Sch{\\"o}lkopf, Bernhard},
  booktitle = {International Conference on Learning Representations},
  note = {arXiv:2009.00329},
  year = {2021}
}"""
    by_environment: ClassVar[bool] = True
    min_environments: ClassVar[int] = 2

    tau: float = option(
        1.0,
        "Absolute mean sign that lets a gradient through (DomainBed: 1, unanimity).",
        search=Search(0.5, 1.0, "DomainBed"),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.tau <= 1:
            raise ValueError(f"and_mask.tau must lie in 0..1, not {self.tau}.")

    def __call__(self, window: Window) -> Direction:
        return masked_direction(window, self.name, lambda gradients: and_mask(gradients, self.tau))
