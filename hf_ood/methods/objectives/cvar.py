"""Conditional value at risk over environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Objective, Sums, risks
from .functional import conditional_value_at_risk, mean_over_present


@dataclass
class CVaR(Objective):
    """The mean risk of the worst `share` of the environments.

    References: Rockafellar & Uryasev 2000; over groups, Williamson & Menon 2019, arXiv:1901.08665. A share
    of 1 is ERM, one small enough minimises the worst risk alone. The default takes the worse half; the
    papers leave the share to the user.

    Requirements:
        Two environments in the training data; with few of them the worst share is one environment.

    Relations:
        `share=1` is `ERM` over environments, a small share the largest risk alone. `EQRM` takes a quantile of
        a smooth distribution of risks, so that every environment keeps a gradient. `GroupDRO` remembers which
        environments were bad.

    Examples:
        >>> import torch
        >>> from hf_ood import CVaR
        >>> totals = {"count": torch.ones(4), "loss": torch.tensor([0.1, 0.2, 0.6, 1.0])}
        >>> loss, _ = CVaR(share=0.5).loss(totals, step=0)  # the worse two
        >>> round(loss.item(), 3)
        0.8
    """

    name: ClassVar[str] = "cvar"
    equation: ClassVar[str] = r"\min_\eta \; \eta + \frac{1}{\alpha E} \sum_e \max(R_e - \eta, 0)"
    citation: ClassVar[str] = """\
@inproceedings{williamson2019fairness,
  title = {Fairness Risk Measures},
  author = {Williamson, Robert C. and Menon, Aditya Krishna},
  booktitle = {International Conference on Machine Learning},
  note = {arXiv:1901.08665},
  year = {2019}
}"""
    min_environments: ClassVar[int] = 2

    share: float = option(
        0.5,
        "Share of the environments, the worst ones, that count (1: ERM).",
        search=Search(0.1, 1.0, "ours"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"cvar.share must lie in 0..1, without 0, not {self.share}.")

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        environment_risks = risks(totals)
        loss = conditional_value_at_risk(environment_risks[totals["count"] > 0], self.share)
        return loss, {"risk": mean_over_present(environment_risks, totals["count"])}
