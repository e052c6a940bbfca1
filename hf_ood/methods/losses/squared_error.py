"""The squared error of a regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .base import SampleLoss
from .closed_forms import sample_losses, sample_residuals, sample_slopes


@dataclass
class SquaredError(SampleLoss):
    """`(z - y)^2`: what a regression's samples cost where no loss is named.

    Least squares (Gauss 1809); residuals `2 (z - y)` and slopes `2 z (z - y)` have closed forms.

    Requirements:
        Targets that are numbers (`--task regression`).

    Relations:
        `Huber` is linear far from the target, so that a few gross errors do not decide.

    Examples:
        >>> import torch
        >>> from hf_ood import SquaredError
        >>> SquaredError()(torch.tensor([[1.0], [4.0]]), torch.tensor([0.0, 1.0])).tolist()
        [1.0, 9.0]
    """

    name: ClassVar[str] = "squared_error"
    equation: ClassVar[str] = r"\ell = (z - y)^2"
    citation: ClassVar[str] = """\
@book{gauss1809theoria,
  title = {Theoria Motus Corporum Coelestium in Sectionibus Conicis Solem Ambientium},
  author = {Gauss, Carl Friedrich},
  publisher = {Perthes and Besser},
  year = {1809}
}"""
    regression: ClassVar[bool | None] = True

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sample_losses(logits, labels)

    def residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sample_residuals(logits, labels)

    def slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        return sample_slopes(logits, labels)
