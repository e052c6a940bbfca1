"""Mixup between environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...options import Search, option
from .base import Mixing


@dataclass
class Mixup(Mixing):
    """Every sample is mixed with one of another environment; an environment has one partner a batch.

    References: Zhang et al. 2018, arXiv:1710.09412; between environments Xu et al. 2020, Wang et al. 2020
    and DomainBed, whose form and default this is: the environments of a batch in a random ring, each mixed
    with the next one in one share. An environment that is alone in its micro-batch mixes with itself.

    Requirements:
        Two environments in the training data, and inputs that are numbers: images or features, not texts. Not
        with what needs a single class for a sample (`RSC`, `SupCon`, `CDANN`).

    Relations:
        `LISA` chooses partners by label and environment, `Mixup` by environment alone.

    Examples:
        >>> import torch
        >>> from hf_ood import Mixup
        >>> _ = torch.manual_seed(0)
        >>> batch = {"pixel_values": torch.eye(4), "labels": torch.tensor([0, 0, 1, 1])}
        >>> mixed = Mixup(alpha=0.2)({**batch, "environment": torch.tensor([0, 0, 1, 1])}, classes=2)
        >>> mixed["labels"].sum(1).tolist()  # shares of the classes
        [1.0, 1.0, 1.0, 1.0]
    """

    name: ClassVar[str] = "mixup"
    citation: ClassVar[str] = """\
@inproceedings{zhang2018mixup,
  title = {mixup: Beyond Empirical Risk Minimization},
  author = {Zhang, Hongyi and Cisse, Moustapha and Dauphin, Yann N. and Lopez-Paz, David},
  booktitle = {International Conference on Learning Representations},
  note = {arXiv:1710.09412},
  year = {2018}
}"""

    alpha: float = option(
        0.2,
        "Both parameters of the Beta distribution of the shares (DomainBed: 0.2).",
        search=Search(0.1, 10.0, "DomainBed", log=True),
    )

    def pairs(self, labels: Tensor, environments: Tensor) -> tuple[Tensor, Tensor]:
        present, own, counts = environments.unique(return_inverse=True, return_counts=True)
        ring = torch.randperm(len(present), device=labels.device)
        after = torch.empty_like(ring).scatter_(0, ring, ring.roll(-1))  # environment -> the next in the ring
        # A random order, sorted by environment: those of environment e begin at starts[e].
        shuffled = torch.randperm(len(own), device=labels.device)
        members = shuffled[own[shuffled].argsort(stable=True)]
        starts = counts.cumsum(0) - counts
        rank = torch.empty_like(own)
        rank[members] = torch.arange(len(own), device=labels.device) - starts[own[members]]
        following = after[own]
        partners = members[starts[following] + rank % counts[following]]
        return partners, self.beta(len(present), labels.device)[own]
