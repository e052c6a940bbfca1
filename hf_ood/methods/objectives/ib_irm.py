"""Information bottleneck IRM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Outputs, Sums
from .ib_erm import IBERM, bottleneck, moment_sums
from .irm import IRM


@dataclass
class IBIRM(IRM):
    """IRM's loss `+ bottleneck_weight * mean_e,d Var_e(feature d)`, each from the end of its warm-up on.

    Reference: Ahuja et al. 2021, arXiv:2106.06607. Defaults are DomainBed's. The whole is divided by IRM's
    weight, as in IRM; `reset_optimizer` acts at the end of either warm-up, as in DomainBed.

    Requirements:
        Two environments in the training data and a model that ends in a linear layer.

    Relations:
        `IRM` and `IBERM` in one; with `bottleneck_weight=0` it is `IRM`. On the linear unit tests the
        bottleneck helps where invariant features alone do not tell the class with certainty.

    Examples:
        >>> import torch
        >>> from hf_ood import IBIRM
        >>> from hf_ood.methods.objectives import Outputs
        >>> features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [1.0, 5.0], [1.0, 5.0]])
        >>> where = torch.tensor([0, 0, 1, 1])
        >>> outputs = Outputs(features, torch.tensor([0, 0, 1, 1]), where, 2, features)
        >>> objective = IBIRM(penalty_weight=10.0, warmup_steps=0, bottleneck_warmup_steps=0)
        >>> _, parts = objective.loss(objective.sums(outputs), step=0)
        >>> {name: round(value.item(), 3) for name, value in parts.items()}
        {'risk': 0.1, 'ib_irm_penalty': 0.024, 'bottleneck': 0.25}
    """

    name: ClassVar[str] = "ib_irm"
    equation: ClassVar[str] = (
        f"{IRM.equation} " + r"+ \gamma \, \frac{1}{E D} \sum_{e, d} \operatorname{Var}_e(z_d)"
    )
    citation: ClassVar[str] = IBERM.citation
    needs_features: ClassVar[bool] = True
    warmups: ClassVar[tuple[str, ...]] = ("warmup_steps", "bottleneck_warmup_steps")

    bottleneck_weight: float = option(
        100.0,
        "Weight of the variance after the warm-up (DomainBed: 100).",
        search=Search(0.1, 1e5, "DomainBed", log=True),
    )

    bottleneck_warmup_steps: float = option(
        0.1,
        "Optimizer steps before the variance gets its weight; below 1, a share of the training's (DomainBed: "
        "500 of 5,000).",
        search=Search(0.0002, 0.9, "DomainBed: 1 to 10,000 of 5,000 steps", log=True),
    )

    def sums(self, outputs: Outputs) -> Sums:
        return super().sums(outputs) | moment_sums(outputs)

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = super().loss(totals, step)
        variance = bottleneck(totals)
        weight = self.bottleneck_weight if step >= self.steps_of("bottleneck_warmup_steps") else 0.0
        return loss + weight * self.scale(step) * variance, {**parts, "bottleneck": variance}

    def resets_optimizer(self, step: int) -> bool:
        ends = self.reset_optimizer and step == self.steps_of("bottleneck_warmup_steps") and step > 0
        return ends or super().resets_optimizer(step)
