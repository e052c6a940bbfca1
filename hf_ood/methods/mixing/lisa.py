"""Selective augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import Mixing


@dataclass
class LISA(Mixing):
    """Mixes samples of one label from two environments, or of two labels from one environment.

    Reference: Yao et al. 2022, arXiv:2201.00299, algorithm 1: one coin a batch chooses between the two. Each
    sample's partner is drawn from all that fit in the micro-batch, the share for each sample as in the
    authors' code; where nothing fits, a sample stays as it is.

    Requirements:
        Two environments in the training data, classes, and inputs that are numbers: images or features, not
        texts.

    Relations:
        `p_sel=1` always mixes one label over environments, which removes what is particular to an
        environment; `Mixup` mixes over environments whatever the label.

    Examples:
        >>> import torch
        >>> from hf_ood import LISA
        >>> labels, where = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> partners, shares = LISA(p_sel=1.0).pairs(labels, where)
        >>> partners.tolist()  # of the same label, from the other environment
        [1, 0, 3, 2]
    """

    name: ClassVar[str] = "lisa"
    citation: ClassVar[str] = """\
@inproceedings{yao2022improving,
  title = {Improving Out-of-Distribution Robustness via Selective Augmentation},
  author = {Yao, Huaxiu and Wang, Yu and Li, Sai and Zhang, Linjun and Liang, Weixin and Zou, James
            and Finn, Chelsea},
  booktitle = {International Conference on Machine Learning},
  note = {arXiv:2201.00299},
  year = {2022}
}"""

    needs_classes: ClassVar[bool] = True

    alpha: float = option(
        2.0,
        "Both parameters of the Beta distribution of the shares (paper: 2).",
        search=Search(0.1, 10.0, "DomainBed's mixup", log=True),
    )
    p_sel: float = option(
        0.5,
        "Probability of mixing one label over environments instead of labels in one environment (authors' "
        "code: 0.5 where groups are small, 1 where environments are new).",
        search=Search(0.5, 1.0, "the authors' code: 0.5 or 1"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.p_sel <= 1:
            raise ValueError(f"lisa.p_sel must lie in 0..1, not {self.p_sel}.")

    def pairs(self, labels: Tensor, environments: Tensor) -> tuple[Tensor, Tensor]:
        same_label = labels[:, None] == labels
        same_environment = environments[:, None] == environments
        within_label = bool(torch.rand(()) < self.p_sel)
        fitting = same_label & ~same_environment if within_label else same_environment & ~same_label
        alone = ~fitting.any(1, keepdim=True)
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        partners = torch.multinomial((fitting | (alone & itself)).float(), 1).squeeze(1)
        return partners, self.beta(len(labels), labels.device)
