"""What is done to a training batch before the network sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...options import option


@dataclass
class Mixing(ABC):
    """Base class. A method is a dataclass: its fields are its hyper-parameters; it chooses who is mixed with
    whom, and in which shares.

    A mixed sample keeps the environment of its first part, sample i of the batch: per-environment sums run
    over as many samples as without mixing. Partners come from the same micro-batch, so another layout of
    the batch draws other mixtures; for the mixtures drawn, the loss is exact in any layout.
    """

    name: ClassVar[str]
    equation: ClassVar[str] = r"\tilde x = \lambda x_i + (1 - \lambda) x_j, \quad " + (
        r"\tilde y = \lambda y_i + (1 - \lambda) y_j, \quad \lambda \sim \operatorname{Beta}(\alpha, \alpha)"
    )
    """What it does, in LaTeX, for model cards."""
    citation: ClassVar[str] = ""
    """The paper, as a BibTeX entry."""
    min_environments: ClassVar[int] = 2
    needs_classes: ClassVar[bool] = False
    """True: partners are found by their classes, so the targets of a regression are refused."""

    alpha: float = option(1.0, "Both parameters of the Beta distribution of the shares.")

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise ValueError(f"{self.name}.alpha must be positive, not {self.alpha}.")

    @abstractmethod
    def pairs(self, labels: Tensor, environments: Tensor) -> tuple[Tensor, Tensor]:
        """`labels` (int64, or targets, float) and `environments` int64 [B] -> each sample's partner, int64
        [B], and its own share of the mixture, float [B] in 0..1. Randomness comes from torch's global
        generators."""

    def __call__(self, batch: dict[str, Any], classes: int) -> dict[str, Any]:
        """A batch {inputs [B, ...], labels int64 [B], environment int64 [B]} -> the same with mixed
        floating-point inputs and, as labels, shares of `classes` classes, float32 [B, classes]. A
        regression's targets, float [B], are mixed themselves."""
        labels = batch["labels"]
        partners, shares = self.pairs(labels, batch["environment"])
        mixed = {
            name: _mix(value, partners, shares) if value.is_floating_point() else value
            for name, value in batch.items()
        }
        parts = labels if labels.is_floating_point() else F.one_hot(labels, classes).float()
        return {**mixed, "labels": _mix(parts, partners, shares)}

    def beta(self, count: int, device: torch.device) -> Tensor:
        """Shares drawn from Beta(alpha, alpha) -> float [count]."""
        return torch.distributions.Beta(self.alpha, self.alpha).sample((count,)).to(device)


def _mix(values: Tensor, partners: Tensor, shares: Tensor) -> Tensor:
    shares = shares.to(values.dtype).view(-1, *[1] * (values.dim() - 1))
    return shares * values + (1 - shares) * values[partners]
