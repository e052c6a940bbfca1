"""Empirical quantile risk minimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Objective, Sums, risks
from .functional import mean_over_present, risk_quantile


@dataclass
class EQRM(Objective):
    """The `quantile` of the distribution of risks over environments; the mean risk during a burn-in.

    Reference: Eastwood et al. 2022, arXiv:2207.09944, with a Gaussian kernel density. Defaults are
    DomainBed's. Its learning rate of 1e-6 after the burn-in is a matter of the trainer's schedule here, and
    every risk has its own gradient: differentiating the bisection, as it does, reaches all but the two
    extreme ones through the bandwidth alone.

    Requirements:
        Two environments in the training data; a distribution is estimated from their risks, so more are
        better.

    Relations:
        A quantile of 0.5 is close to `ERM`, towards 1 it extrapolates beyond the largest risk, as `VREx`
        does. `CVaR` is the mean beyond a quantile.

    Examples:
        >>> import torch
        >>> from hf_ood import EQRM
        >>> totals = {"count": torch.ones(3), "loss": torch.tensor([0.2, 0.4, 0.6])}
        >>> for quantile in (0.5, 0.9, 0.99):
        ...     loss, _ = EQRM(quantile=quantile, burn_in_steps=0).loss(totals, step=0)
        ...     print(f"{quantile}: {loss.item():.2f}")
        0.5: 0.40
        0.9: 0.71
        0.99: 0.92
    """

    name: ClassVar[str] = "eqrm"
    equation: ClassVar[str] = (
        r"F^{-1}(\alpha), \quad F \text{ the kernel-smoothed distribution of } R_1, \dots, R_E"
    )
    citation: ClassVar[str] = """\
@inproceedings{eastwood2022probable,
  title = {Probable Domain Generalization via Quantile Risk Minimization},
  author = {Eastwood, Cian and Robey, Alexander and Singh, Shashank and von K{\\\"u}gelgen, Julius
            and Hassani, Hamed and Pappas, George J. and Sch{\\\"o}lkopf, Bernhard},
  booktitle = {Advances in Neural Information Processing Systems},
  note = {arXiv:2207.09944},
  year = {2022}
}"""
    min_environments: ClassVar[int] = 2
    warmups: ClassVar[tuple[str, ...]] = ("burn_in_steps",)

    quantile: float = option(
        0.75,
        "Quantile of the risks that is minimised (DomainBed: 0.75).",
        search=Search(0.5, 0.99, "DomainBed"),
    )
    burn_in_steps: float = option(
        0.5,
        "Optimizer steps of the mean risk before; below 1, a share of the training's (DomainBed: 2,500 of "
        "5,000).",
        search=Search(0.0632, 0.6325, "DomainBed: 316 to 3,162 of 5,000 steps", log=True),
    )
    reset_optimizer: bool = option(
        False, "Clear the optimizer's moments when the burn-in ends (DomainBed: yes)."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.quantile < 1:
            raise ValueError(f"eqrm.quantile must lie between 0 and 1, not {self.quantile}.")

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        environment_risks = risks(totals)
        risk = mean_over_present(environment_risks, totals["count"])
        quantile = risk_quantile(environment_risks[totals["count"] > 0], self.quantile)
        burns_in = step < self.steps_of("burn_in_steps")
        return risk if burns_in else quantile, {"risk": risk, "risk_quantile": quantile}

    def resets_optimizer(self, step: int) -> bool:
        return self.reset_optimizer and step == self.steps_of("burn_in_steps") and step > 0
