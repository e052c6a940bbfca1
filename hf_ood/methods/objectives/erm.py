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

    Requirements:
        None.

    Relations:
        The baseline that every method here is measured against. `SD`, `DANN` and `Fishr` take the same mean
        over samples and add to it; `IRM`, `VREx` and `CORAL` add to the mean over environments.
        `CVaR(share=1.0)` is ERM over environments.

    Examples:
        >>> import torch
        >>> from hf_ood import ERM
        >>> totals = {"count": torch.tensor([3.0, 1.0]), "loss": torch.tensor([0.3, 0.9])}
        >>> loss, _ = ERM().loss(totals, step=0)  # 1.2 over four samples
        >>> round(loss.item(), 4)
        0.3
        >>> loss, _ = ERM(weighting="environments").loss(totals, step=0)  # risks of 0.1 and 0.9
        >>> round(loss.item(), 4)
        0.5
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
