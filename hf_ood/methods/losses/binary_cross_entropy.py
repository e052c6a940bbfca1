"""Binary cross-entropy, the mean over a sample's labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...options import option
from .base import SampleLoss, along
from .class_weights import BALANCED, NONE, numbers, unprepared
from .closed_forms import at_least_float32


@dataclass
class BinaryCrossEntropy(SampleLoss):
    """`-(1 / L) sum_k y_k log s_k + (1 - y_k) log(1 - s_k)` with `s = sigmoid(z)`: L labels, each yes or no.

    Labels are 0 or 1, float [B, L], or between them for mixed samples. Residuals `(s - y) / L` and slopes
    `<s - y, z> / L` have closed forms, so IRM, Fishr and all others cost what they cost with cross-entropy.
    `positive_weights` multiply the part of a label that is there, `y_k log s_k`; balanced they are the number
    of training samples without the label over that with it, which takes `prepare`. Source: the logarithmic
    score, Good 1952, "Rational Decisions".

    Requirements:
        Labels of which each is yes or no (`--task multi_label`).

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
    equation: ClassVar[str] = (
        r"\ell = -\frac{1}{L} \sum_k \left[ w_k y_k \log \sigma(z_k) "
        r"+ (1 - y_k) \log (1 - \sigma(z_k)) \right]"
    )
    citation: ClassVar[str] = """\
@article{good1952rational,
  title = {Rational Decisions},
  author = {Good, Irving John},
  journal = {Journal of the Royal Statistical Society, Series B},
  volume = {14},
  year = {1952}
}"""
    multi_label: ClassVar[bool] = True

    positive_weights: str | Sequence[float] = option(
        NONE,
        "none | balanced (samples without a label / samples with it, in the training data) | a number for "
        "each label in the order of the labels, as 1,4: what a label that is there counts.",
    )
    factors: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    """What each label that is there counts, float [L], once `prepare` knows it."""

    def __post_init__(self) -> None:
        if self.positive_weights not in (NONE, BALANCED):
            self.positive_weights = numbers("positive_weights", self.positive_weights, (NONE, BALANCED))

    @property
    def counts_classes(self) -> bool:
        return self.positive_weights == BALANCED

    def prepare(self, labels: Tensor, num_labels: int) -> BinaryCrossEntropy:
        """The same loss with the weights of its labels. Raises `ValueError` for another number of them, and
        for a label that every or no training sample has, which nothing balances."""
        if self.positive_weights == NONE:
            return self
        if self.positive_weights == BALANCED:
            with_label = labels.double().sum(0)
            if not ((with_label > 0) & (with_label < len(labels))).all():
                raise ValueError(
                    "loss.positive_weights balanced: some label is the same for all training samples. Leave "
                    "that label out, or give numbers."
                )
            weights = (len(labels) - with_label) / with_label
        else:
            weights = torch.tensor(self.positive_weights, dtype=torch.float64, device=labels.device)
        if len(weights) != num_labels:
            raise ValueError(
                f"loss.positive_weights has {len(weights)} numbers, but there are {num_labels} labels: give "
                "one for each, in their order."
            )
        prepared = replace(self)
        prepared.factors = weights.float()
        return prepared

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = at_least_float32(logits)
        return F.binary_cross_entropy_with_logits(
            logits, labels.to(logits), reduction="none", pos_weight=self._factors(logits)
        ).mean(1)

    def residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = at_least_float32(logits)
        labels, factors = labels.to(logits), self._factors(logits)
        if factors is None:
            return (logits.sigmoid() - labels) / logits.shape[1]
        there = factors * labels
        return ((there + 1 - labels) * logits.sigmoid() - there) / logits.shape[1]

    def _factors(self, like: Tensor) -> Tensor | None:
        if self.positive_weights == NONE:
            return None
        if self.factors is None:
            raise unprepared("loss.positive_weights are those of the training labels")
        return self.factors.to(like)

    def slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        return along(self.residuals(logits, labels), at_least_float32(logits))
