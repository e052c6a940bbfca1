"""Features that look alike in any mixture of the environments."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import Outputs, Sums, features_of, risks
from .functional import environment_products, environment_sums
from .penalty import PenaltyObjective


@dataclass
class CausIRL(PenaltyObjective):
    """`mean_e R_e + weight * ||m_A - m_B||^2 / D + ||C_A - C_B||^2 / D^2`, means and covariances of the
    features of two random mixtures A and B of the environments.

    Reference: Chevalley et al. 2022, arXiv:2206.11646, with distance and weight of DomainBed's CausIRL_CORAL.
    There every environment's samples are cut in two at a random place; here a sample is on both sides, in
    shares s_e and 1 - s_e that are drawn anew in every step, so the moments of both are functions of sums and
    chance within an environment does not count. Shares go to environments in the order of their risks: names
    decide nothing.

    Requirements:
        Two environments in the training data and a model that ends in a linear layer.

    Relations:
        `CORAL` compares every environment with every other, and covariances alone; this compares two mixtures
        of all of them in a step, means too. Both align features whatever their class.

    Examples:
        >>> import torch
        >>> from hf_ood import CausIRL
        >>> from hf_ood.methods.objectives import Outputs
        >>> where = torch.tensor([0, 0, 1, 1])
        >>> for shift in (0.0, 2.0):
        ...     features = torch.tensor([[0.0], [1.0], [0.0 + shift], [1.0 + shift]])
        ...     outputs = Outputs(torch.zeros(4, 2), torch.zeros(4).long(), where, 2, features)
        ...     objective = CausIRL()
        ...     _, parts = objective.loss(objective.sums(outputs), step=0)
        ...     print(parts["causirl_penalty"].item() > 1e-6)
        False
        True
    """

    name: ClassVar[str] = "causirl"
    equation: ClassVar[str] = (
        r"\frac{1}{E} \sum_e R_e + \lambda \left[ \frac{\lVert m_A - m_B \rVert^2}{D} + "
        r"\frac{\lVert C_A - C_B \rVert_F^2}{D^2} \right], \quad A = \sum_e s_e P_e, \; "
        r"B = \sum_e (1 - s_e) P_e, \; s_e \sim U(0, 1)"
    )
    citation: ClassVar[str] = """\
@article{chevalley2022invariant,
  title = {Invariant Causal Mechanisms through Distribution Matching},
  author = {Chevalley, Mathieu and Bunne, Charlotte and Krause, Andreas and Bauer, Stefan},
  journal = {arXiv preprint arXiv:2206.11646},
  year = {2022}
}"""
    needs_features: ClassVar[bool] = True
    moves_features: ClassVar[bool] = True

    penalty_weight: float = option(
        1.0,
        "Weight of the distance between the mixtures (DomainBed: 1).",
        search=Search(0.1, 10.0, "DomainBed", log=True),
    )
    warmup_steps: float = option(
        0.0, "Optimizer steps before the penalty gets its weight; below 1, a share of the training's."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seed = 0
        self._step = 0

    def build(self, feature_size: int, num_labels: int, present: Tensor) -> None:
        self.seed = int(torch.randint(2**31, ()))

    def sums(self, outputs: Outputs) -> Sums:
        features, where = features_of(outputs), (outputs.environments, outputs.num_environments)
        return super().sums(outputs) | {
            "features": environment_sums(features, *where),
            "products": environment_products(features, features, *where),
        }

    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        self._step = step
        return super().loss(totals, step)

    def penalty(self, totals: Sums) -> Tensor:
        shares = self.shares(totals)
        (mean_a, covariance_a), (mean_b, covariance_b) = (
            mixed_moments(totals, side) for side in (shares, 1 - shares)
        )
        means = (mean_a - mean_b).square().mean()
        return means + (covariance_a - covariance_b).square().mean()

    @torch.no_grad()
    def shares(self, totals: Sums) -> Tensor:
        """Each environment's share on side A in this step -> [E]; the k-th of a step goes to the environment
        with the k-th smallest risk."""
        counts = totals["count"]
        drawn = random.Random(f"{self.seed} {self._step}")
        numbers = torch.tensor([drawn.random() for _ in range(len(counts))]).to(counts)
        order = torch.where(counts > 0, risks(totals), torch.inf).argsort()
        return torch.empty_like(numbers).scatter_(0, order, numbers)

    def state_dict(self) -> dict[str, Tensor]:
        return {"seed": torch.tensor(self.seed)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.seed = int(state["seed"])


def mixed_moments(totals: Sums, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and population covariance [D, D] of the features of a mixture, of every environment its share
    [E]: those of equal environments are the same in any mixture."""
    count = (shares * totals["count"]).sum()
    total = shares @ totals["features"]
    mean = total / count.clamp_min(1e-12)
    products = torch.tensordot(shares, totals["products"], dims=1)
    return mean, (products - torch.outer(total, mean)) / count.clamp_min(1e-12)
