"""Group distributionally robust optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import Objective, Sums, risks
from .functional import group_dro_weights, mean_over_present


@dataclass
class GroupDRO(Objective):
    """`sum_e q_e R_e`, the weights q following the largest risks: `q_e <- q_e exp(step_size R_e) / norm`.

    Reference: Sagawa et al. 2020, arXiv:1911.08731, algorithm 1; groups are environments. The weights move
    once per optimizer step, before the loss, from the risks of the whole step; an environment that is absent
    from it keeps its weight and the loss is divided by the weight that is present. Default as in the paper's
    code and DomainBed.

    Requirements:
        Two environments in the training data, and regularisation: weight decay or early stopping, as the
        paper shows.

    Relations:
        `CVaR` looks at the worst share of one step, without memory; here weights build up over steps. To
        protect classes within environments, make groups of both: `add_environments(dataset,
        column=["hospital", "label"])`.

    Examples:
        >>> import torch
        >>> from hf_ood import GroupDRO
        >>> objective = GroupDRO(step_size=0.5)
        >>> totals = {"count": torch.tensor([2.0, 2.0]), "loss": torch.tensor([0.4, 2.4])}
        >>> for step in range(3):
        ...     objective.update(totals, step)
        >>> [round(weight, 3) for weight in objective.weights.tolist()]
        [0.182, 0.818]
    """

    name: ClassVar[str] = "group_dro"
    equation: ClassVar[str] = (
        r"\sum_e q_e R_e, \quad q_e \leftarrow \frac{q_e \exp(\eta R_e)}{\sum_f q_f \exp(\eta R_f)}"
    )
    citation: ClassVar[str] = """\
@inproceedings{sagawa2020distributionally,
  title = {Distributionally Robust Neural Networks for Group Shifts: On the Importance of Regularization for
           Worst-Case Generalization},
  author = {Sagawa, Shiori and Koh, Pang Wei and Hashimoto, Tatsunori B. and Liang, Percy},
  booktitle = {International Conference on Learning Representations},
  note = {arXiv:1911.08731},
  year = {2020}
}"""
    min_environments: ClassVar[int] = 2

    step_size: float = option(
        0.01,
        "Step size of the weights (paper's code, DomainBed: 0.01).",
        search=Search(1e-3, 0.1, "DomainBed", log=True),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weights: Tensor | None = None

    def start(self, total_steps: int) -> None:
        super().start(total_steps)
        self.weights = None

    def update(self, totals: Sums, step: int) -> None:
        weights, present = self._weights(totals), totals["count"] > 0
        there = torch.where(present, weights, 0)
        moved = group_dro_weights(there, risks(totals), self.step_size)
        self.weights = torch.where(present, moved * there.sum(), weights)

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        weights = torch.where(totals["count"] > 0, self._weights(totals), 0)
        environment_risks = risks(totals)
        loss = (weights * environment_risks).sum() / weights.sum()
        risk = mean_over_present(environment_risks, totals["count"])
        return loss, {"risk": risk, "worst_risk": environment_risks.max()}

    def _weights(self, totals: Sums) -> Tensor:
        count = totals["count"]
        return torch.full_like(count, 1 / len(count)) if self.weights is None else self.weights.to(count)

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.weights is None else {"weights": self.weights}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.weights = state.get("weights")
