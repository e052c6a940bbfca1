"""What a loss of a sample is, and the two derivatives of it that objectives use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .closed_forms import at_least_float32


@dataclass
class SampleLoss(ABC):
    """Base class of the loss of single samples; objectives are functions of its sums.

    A sample's loss may depend on its own logits and label alone. A subclass gives `__call__`; the slopes of
    IRM and the residuals of Fishr then follow by autograd through the loss alone, never the network, and
    closed forms in their place are a matter of speed.

    Example:
        @dataclass
        class Hinge(SampleLoss):
            name: ClassVar[str] = "hinge"
            def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
                return F.multi_margin_loss(logits, labels, reduction="none")
    """

    name: ClassVar[str]
    equation: ClassVar[str] = ""
    """The loss of one sample, in LaTeX."""
    citation: ClassVar[str] = ""
    """The paper, as a BibTeX entry."""
    multi_label: ClassVar[bool] = False
    """True: labels are 0 or 1 of each of L labels, float [B, L]; False: float [B, C] are shares of
    classes."""
    regression: ClassVar[bool | None] = None
    """True: labels are the targets of a regression, floats [B]; False: they are not; None: either."""
    takes_shares: ClassVar[bool] = True
    """False: every sample is of a single class, so mixed samples are refused."""

    @property
    def counts_classes(self) -> bool:
        """Whether it corrects for how often classes occur in the training data; samplers that balance them
        are then refused."""
        return False

    def prepare(self, labels: Tensor, num_labels: int) -> SampleLoss:
        """The loss that knows the training's labels, int64 [N], a regression's float [N] or, where it is one
        of several labels, float [N, L]; called once, before training. The object itself stays as it is.
        """
        return self

    @abstractmethod
    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits [B, C] and labels -> losses [B]. Labels are int64 [B], float shares of classes [B, C] of
        mixed samples, a regression's float targets [B], or 0 and 1 of L labels [B, L] (`multi_label`)."""

    def residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`dl_i / dz_i`, each sample's gradient in its own logits -> [B, C].

        Differentiable where gradients are enabled; also works under `torch.no_grad()`.
        """
        logits = at_least_float32(logits)
        leaf = logits if logits.requires_grad else logits.detach().requires_grad_()
        with torch.enable_grad():
            losses = self(leaf, labels)
        return gradient_in_logits(losses, leaf)

    def slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        """`<dl_i / dz_i, z_i>`: slope of each sample's loss in a scale on its logits, at scale 1 -> [B]."""
        return along(self.residuals(logits, labels), at_least_float32(logits))


def gradient_in_logits(losses: Tensor, logits: Tensor) -> Tensor:
    """Gradient of each loss [B] in its own logits [B, C] -> [B, C], with graph where gradients are enabled.

    Raises `RuntimeError` where the losses were not computed from these logits.
    """
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(losses.sum(), logits, create_graph=True)
    return gradient if wanted else gradient.detach()


def along(residuals: Tensor, logits: Tensor) -> Tensor:
    """Inner product of each sample's residuals and logits, [B, C] each -> [B]."""
    return (residuals * logits).flatten(1).sum(1)
