"""Correlation alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Outputs, Sums, features_of
from .functional import covariance_distance, covariances, environment_products, environment_sums
from .penalty import PenaltyObjective


@dataclass
class CORAL(PenaltyObjective):
    """`mean_e R_e + weight * mean over pairs of ||C_e - C_f||^2 / (4 D^2)`, C the covariance of features.

    Reference: Sun & Saenko 2016, arXiv:1607.01719, over all pairs of training environments, by their
    distances from the mean covariance. DomainBed's term is four times the paper's and adds one between
    means; its default weight is kept.

    Requirements:
        Two environments in the training data and a model that ends in a linear layer. Batches with clearly
        more than two samples of each environment: their covariance is estimated from one step.

    Relations:
        `MMD` compares whole distributions and is not additive; `DANN` learns what to compare. All three align
        features whatever their class, which harms where the shares of classes differ between environments;
        `CDANN` does not.

    Examples:
        >>> import torch
        >>> from hf_ood import CORAL
        >>> from hf_ood.methods.objectives import Outputs
        >>> features = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
        >>> where = torch.tensor([0, 0, 1, 1])  # one environment varies along x, the other along y
        >>> outputs = Outputs(torch.zeros(4, 2), torch.zeros(4).long(), where, 2, features)
        >>> objective = CORAL(penalty_weight=1.0)
        >>> _, parts = objective.loss(objective.sums(outputs), step=0)
        >>> parts["coral_penalty"].item()  # (2^2 + 2^2) / (4 * 2^2)
        0.5
    """

    name: ClassVar[str] = "coral"
    equation: ClassVar[str] = (
        r"\frac{1}{E} \sum_e R_e + \lambda \, "
        r"\frac{2}{E (E - 1)} \sum_{e < f} \frac{\lVert C_e - C_f \rVert_F^2}{4 D^2}"
    )
    citation: ClassVar[str] = """\
@inproceedings{sun2016deep,
  title = {Deep {CORAL}: Correlation Alignment for Deep Domain Adaptation},
  author = {Sun, Baochen and Saenko, Kate},
  booktitle = {European Conference on Computer Vision Workshops},
  note = {arXiv:1607.01719},
  year = {2016}
}"""
    needs_features: ClassVar[bool] = True
    moves_features: ClassVar[bool] = True

    penalty_weight: float = option(
        1.0,
        "Weight of the distance between covariances (DomainBed: 1, of a term four times as large).",
        search=Search(0.1, 10.0, "DomainBed", log=True),
    )
    warmup_steps: float = option(
        0.0, "Optimizer steps before the penalty gets its weight; below 1, a share of the training's."
    )

    def sums(self, outputs: Outputs) -> Sums:
        features, where = features_of(outputs), (outputs.environments, outputs.num_environments)
        return super().sums(outputs) | {
            "features": environment_sums(features, *where),
            "products": environment_products(features, features, *where),
        }

    def penalty(self, totals: Sums) -> Tensor:
        counts = totals["count"]
        return covariance_distance(covariances(counts, totals["features"], totals["products"]), counts)
