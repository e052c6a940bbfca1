"""Information bottleneck ERM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Outputs, Sums, features_of
from .functional import environment_sums, feature_variances, mean_over_present
from .penalty import PenaltyObjective


@dataclass
class IBERM(PenaltyObjective):
    """`mean_e R_e + weight * mean_e,d Var_e(feature d)`: features that vary no more than they need.

    Reference: Ahuja et al. 2021, arXiv:2106.06607. Defaults of weight and warm-up are DomainBed's; the
    variance is the population's, which one sample has too, where DomainBed's is the unbiased one.

    Requirements:
        A model that ends in a linear layer. One environment is enough.

    Relations:
        `IBIRM` is this and `IRM` together. `SD` limits logits where this limits the features below them.
        Variance within environments is not what `CORAL` compares, which is the difference between
        environments.

    Examples:
        >>> import torch
        >>> from hf_ood import IBERM
        >>> from hf_ood.methods.objectives import Outputs
        >>> features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [1.0, 5.0], [1.0, 5.0]])
        >>> where = torch.tensor([0, 0, 1, 1])
        >>> outputs = Outputs(torch.zeros(4, 2), torch.zeros(4).long(), where, 2, features)
        >>> objective = IBERM(warmup_steps=0)
        >>> _, parts = objective.loss(objective.sums(outputs), step=0)
        >>> round(parts["ib_erm_penalty"].item(), 3)  # one of four variances is 1
        0.25
    """

    name: ClassVar[str] = "ib_erm"
    equation: ClassVar[str] = (
        r"\frac{1}{E} \sum_e R_e + \lambda \, \frac{1}{E D} \sum_{e, d} \operatorname{Var}_e(z_d)"
    )
    citation: ClassVar[str] = """\
@inproceedings{ahuja2021invariance,
  title = {Invariance Principle Meets Information Bottleneck for Out-of-Distribution Generalization},
  author = {Ahuja, Kartik and Caballero, Ethan and Zhang, Dinghuai and Gagnon-Audet, Jean-Christophe
            and Bengio, Yoshua and Mitliagkas, Ioannis and Rish, Irina},
  booktitle = {Advances in Neural Information Processing Systems},
  note = {arXiv:2106.06607},
  year = {2021}
}"""
    needs_features: ClassVar[bool] = True
    moves_features: ClassVar[bool] = True
    min_environments: ClassVar[int] = 1

    penalty_weight: float = option(
        100.0,
        "Weight of the variance after the warm-up (DomainBed: 100).",
        search=Search(0.1, 1e5, "DomainBed", log=True),
    )
    warmup_penalty_weight: float = option(0.0, "Weight of the variance during the warm-up (DomainBed: 0).")

    def sums(self, outputs: Outputs) -> Sums:
        return super().sums(outputs) | moment_sums(outputs)

    def penalty(self, totals: Sums) -> Tensor:
        return bottleneck(totals)


def moment_sums(outputs: Outputs) -> Sums:
    """Sums of features and of their squares, [E, D] each."""
    features, where = features_of(outputs), (outputs.environments, outputs.num_environments)
    return {
        "features": environment_sums(features, *where),
        "squared_features": environment_sums(features.square(), *where),
    }


def bottleneck(totals: Sums) -> Tensor:
    """Variance of a feature in an environment, mean over both -> []."""
    variances = feature_variances(totals["count"], totals["features"], totals["squared_features"])
    return mean_over_present(variances.mean(1), totals["count"])
