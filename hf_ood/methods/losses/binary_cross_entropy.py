"""Binary cross-entropy, the mean over a sample's labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from .base import SampleLoss, along
from .closed_forms import at_least_float32


@dataclass
class BinaryCrossEntropy(SampleLoss):
    """`-(1 / L) sum_k y_k log s_k + (1 - y_k) log(1 - s_k)` with `s = sigmoid(z)`: L labels, each yes or no.

    Labels are 0 or 1, float [B, L], or between them for mixed samples. Residuals `(s - y) / L` and slopes
    `<s - y, z> / L` have closed forms, so IRM, Fishr and all others cost what they cost with cross-entropy.

    Relations:
        With one label, and logits of two classes that differ by `z`, it is their cross-entropy.

    Examples:
        >>> import torch
        >>> from hf_ood import BinaryCrossEntropy
        >>> logits, labels = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]])
        >>> round(BinaryCrossEntropy()(logits, labels).item(), 3)  # (log 2 + log(1 + e^2)) / 2
        1.41
    """

    name: ClassVar[str] = "binary_cross_entropy"
    multi_label: ClassVar[bool] = True

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = at_least_float32(logits)
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits), reduction="none").mean(1)

    def residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = at_least_float32(logits)
        return (logits.sigmoid() - labels.to(logits)) / logits.shape[1]

    def slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        return along(self.residuals(logits, labels), at_least_float32(logits))
