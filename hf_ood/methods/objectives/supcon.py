"""Supervised contrastive learning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...options import Search, option
from .base import Outputs, Sums, features_of, labels_of
from .functional import at_least_float32
from .penalty import PenaltyObjective


@dataclass
class SupCon(PenaltyObjective):
    """`mean_e R_e + weight * contrast`: samples of one class, from whatever environment, attract each other,
    and all others repel.

    Reference: Khosla et al. 2020, arXiv:2004.11362, here beside the classifier's risk, on its features and
    without a projection network. Every sample is compared with every other, so no accumulation and one
    process.

    Requirements:
        A model that ends in a linear layer, classes, one process and no gradient accumulation. Batches in
        which most classes occur more than once.

    Relations:
        `CORAL`, `MMD` and `DANN` bring environments together whatever the class; this brings together samples
        of one class, from whatever environment.

    Examples:
        >>> import torch
        >>> from hf_ood.methods.objectives.supcon import supervised_contrastive_loss
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> by_class = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> across = by_class[[0, 2, 1, 3]]
        >>> [round(supervised_contrastive_loss(x, labels).item(), 2) for x in (by_class, across)]
        [0.0, 10.0]
    """

    name: ClassVar[str] = "supcon"
    equation: ClassVar[str] = (
        r"\frac{1}{E} \sum_e R_e - \lambda \operatorname{mean}_i \operatorname{mean}_{p \neq i : y_p = y_i} "
        r"\log \frac{\exp(z_i \cdot z_p / \tau)}{\sum_{a \neq i} \exp(z_i \cdot z_a / \tau)}, "
        r"\quad \lVert z \rVert = 1"
    )
    citation: ClassVar[str] = """\
@inproceedings{khosla2020supervised,
  title = {Supervised Contrastive Learning},
  author = {Khosla, Prannay and Teterwak, Piotr and Wang, Chen and Sarna, Aaron and Tian, Yonglong
            and Isola, Phillip and Maschinot, Aaron and Liu, Ce and Krishnan, Dilip},
  booktitle = {Advances in Neural Information Processing Systems},
  note = {arXiv:2004.11362},
  year = {2020}
}"""
    additive: ClassVar[bool] = False
    needs_features: ClassVar[bool] = True
    moves_features: ClassVar[bool] = True
    needs_classes: ClassVar[bool] = True
    min_environments: ClassVar[int] = 1

    penalty_weight: float = option(
        1.0,
        "Weight of the contrastive loss (ours: the paper has no classifier's risk beside it).",
        search=Search(1e-4, 100.0, "DomainBed's CAD", log=True),
    )
    warmup_steps: float = option(
        0.0,
        "Optimizer steps before the contrastive loss gets its weight; below 1, a share of the training's.",
    )
    temperature: float = option(
        0.1,
        "What similarities are divided by (paper: 0.1).",
        search=Search(0.05, 0.1, "DomainBed's CAD: 0.05 or 0.1", log=True),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature <= 0:
            raise ValueError(f"supcon.temperature must be positive, not {self.temperature}.")

    def sums(self, outputs: Outputs) -> Sums:
        contrast = supervised_contrastive_loss(features_of(outputs), labels_of(outputs), self.temperature)
        return super().sums(outputs) | {"supcon": contrast}

    def penalty(self, totals: Sums) -> Tensor:
        return totals["supcon"]


def supervised_contrastive_loss(features: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Features [B, D] of any length and labels int64 [B] -> [], mean over the samples whose class has
    another one in the batch.

    Source: Khosla et al. 2020, arXiv:2004.11362, equation 2.
    """
    directions = F.normalize(at_least_float32(features))
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    similarities = (directions @ directions.T / temperature).masked_fill(itself, -math.inf)
    positives = (labels[:, None] == labels) & ~itself
    attraction = torch.where(positives, similarities.log_softmax(1), 0).sum(1)
    number = positives.sum(1)
    return -(attraction / number.clamp_min(1)).sum() / (number > 0).sum().clamp_min(1)
