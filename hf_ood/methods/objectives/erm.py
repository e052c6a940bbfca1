"""Empirical risk minimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import option
from .base import Objective, Sums
from .weighting import SAMPLES, check_weighting, weighted_mean


@dataclass
class ERM(Objective):
    """The mean loss of the training samples (Vapnik 1992).

    Samples weigh the same by default, as in the source and in DomainBed, where all environments' batches are
    one. With `weighting="environments"` it is the mean over environments of their risks, whatever their
    sizes. With environments in equal parts in every batch, the sampler's default, both are the same.
    """

    name: ClassVar[str] = "erm"
    equation: ClassVar[str] = r"\frac{1}{n} \sum_i \ell_i"
    citation: ClassVar[str] = """\
@inproceedings{vapnik1992principles,
  title = {Principles of Risk Minimization for Learning Theory},
  author = {Vapnik, Vladimir},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {4},
  year = {1992}
}"""
    linear: ClassVar[bool] = True

    weighting: str = option(
        SAMPLES, "What weighs the same: samples (the source, DomainBed) | environments, whatever their sizes."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weighting("erm.weighting", self.weighting)

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return weighted_mean(totals, "loss", self.weighting), {}
