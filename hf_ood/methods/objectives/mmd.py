"""Maximum mean discrepancy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...options import Search, option
from .base import Outputs, Sums, features_of
from .functional import mmd_penalty
from .penalty import PenaltyObjective


@dataclass
class MMD(PenaltyObjective):
    """`mean_e R_e + weight * mean over pairs of MMD^2(features of e, features of f)`.

    References: Gretton et al. 2012; over environments, Li et al. 2018, "Domain generalization with
    adversarial feature learning", here without its adversary. Kernels and weight are DomainBed's. Kernels
    compare samples, so no accumulation and one process.

    Requirements:
        Two environments in the training data, a model that ends in a linear layer, one process and no
        gradient accumulation.

    Relations:
        `CORAL` compares second moments alone and is exact over any number of processes; start with it. `DANN`
        replaces the fixed kernels by a trained discriminator.

    Examples:
        >>> import torch
        >>> from hf_ood.methods.objectives.functional import mmd_penalty
        >>> where = torch.tensor([0, 0, 1, 1])
        >>> together = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
        >>> apart = torch.tensor([[0.0], [1.0], [5.0], [6.0]])
        >>> [round(mmd_penalty(x, where, 2, gammas=[1.0]).item(), 3) for x in (together, apart)]
        [0.0, 1.368]
    """

    name: ClassVar[str] = "mmd"
    equation: ClassVar[str] = (
        r"\frac{1}{E} \sum_e R_e + \lambda \, \frac{2}{E (E - 1)} \sum_{e < f} \operatorname{MMD}^2(z_e, z_f)"
    )
    citation: ClassVar[str] = """\
@inproceedings{li2018domain,
  title = {Domain Generalization with Adversarial Feature Learning},
  author = {Li, Haoliang and Pan, Sinno Jialin and Wang, Shiqi and Kot, Alex C.},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2018}
}"""
    additive: ClassVar[bool] = False
    needs_features: ClassVar[bool] = True
    moves_features: ClassVar[bool] = True

    penalty_weight: float = option(
        1.0, "Weight of the discrepancy (DomainBed: 1).", search=Search(0.1, 10.0, "DomainBed", log=True)
    )
    warmup_steps: float = option(
        0.0, "Optimizer steps before the penalty gets its weight; below 1, a share of the training's."
    )
    gammas: list[float] = option(
        [1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3], "Inverse squared widths of the kernels that are added up."
    )

    def sums(self, outputs: Outputs) -> Sums:
        where = (outputs.environments, outputs.num_environments)
        return super().sums(outputs) | {"mmd": mmd_penalty(features_of(outputs), *where, self.gammas)}

    def penalty(self, totals: Sums) -> Tensor:
        return totals["mmd"]
