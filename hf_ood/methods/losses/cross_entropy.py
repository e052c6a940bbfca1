"""Cross-entropy, with smoothed labels and weighted classes; squared error where labels are targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from ...options import option
from .base import SampleLoss
from .closed_forms import (
    are_targets,
    at_least_float32,
    class_shares,
    sample_losses,
    sample_residuals,
    sample_slopes,
)

NONE, BALANCED = "none", "balanced"


@dataclass
class CrossEntropy(SampleLoss):
    """`-w_y sum_k s_k log softmax(z)_k` with s the smoothed label; of a regression the squared error.

    Smoothing moves `label_smoothing` of a label's share to all classes evenly (Szegedy et al. 2016,
    arXiv:1512.00567). Weights belong to samples, by their class; a mixed sample has the mean of its classes'
    weights. They are scaled to mean 1 over the training samples, so that risks keep their scale, which takes
    `prepare`. Raises `ValueError` for options out of range, for weights that were not prepared, and where
    either meets a regression.

    Example:
        loss = CrossEntropy(label_smoothing=0.1, class_weights="balanced").prepare(train_labels, num_labels=2)
        losses = loss(logits, labels)  # [B]
    """

    name: ClassVar[str] = "cross_entropy"

    label_smoothing: float = option(0.0, "Share of every label that all classes divide evenly (0: none).")
    class_weights: str | Sequence[float] = option(
        NONE,
        "none | balanced (every class counts the same in the training data) | a number for each class in the "
        "order of the labels, as 1,4. Scaled to mean 1 over the training samples.",
    )
    factors: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    """What each class's samples are multiplied by, float [C], once `prepare` knows it."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"loss.label_smoothing must lie in 0..1, without 1, not {self.label_smoothing}.")
        if self.class_weights not in (NONE, BALANCED):
            self.class_weights = _numbers(self.class_weights)

    @property
    def is_plain(self) -> bool:
        """Whether it is cross-entropy alone."""
        return not self.label_smoothing and self.class_weights == NONE

    def prepare(self, labels: Tensor, num_labels: int) -> CrossEntropy:
        """The same loss with the factors of its classes, float [C], from training labels int64 [N].

        Raises `ValueError` for a regression, and for another number of weights than `num_labels`.
        """
        self._refuse_targets(labels)
        if self.class_weights == NONE:
            return self
        counts = torch.bincount(labels, minlength=num_labels).double()
        if self.class_weights == BALANCED:
            weights = torch.where(counts > 0, 1 / counts.clamp_min(1), 0)
        else:
            weights = torch.tensor(self.class_weights, dtype=counts.dtype, device=counts.device)
        if len(weights) != len(counts):
            raise ValueError(
                f"loss.class_weights has {len(weights)} numbers, but there are {len(counts)} classes: give "
                "one for each, in the order of the labels."
            )
        mean = (counts * weights).sum() / counts.sum()
        if mean == 0:
            raise ValueError("loss.class_weights is 0 for every training sample: nothing would be learnt.")
        prepared = replace(self)
        prepared.factors = (weights / mean).float()
        return prepared

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._weighted(sample_losses(logits, self._smoothed(logits, labels)), labels)

    def slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._weighted(sample_slopes(logits, self._smoothed(logits, labels)), labels)

    def residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._weighted(sample_residuals(logits, self._smoothed(logits, labels)), labels)

    def _smoothed(self, logits: Tensor, labels: Tensor) -> Tensor:
        self._refuse_targets(labels)
        if not self.label_smoothing:
            return labels
        shares = class_shares(labels, at_least_float32(logits))
        return (1 - self.label_smoothing) * shares + self.label_smoothing / shares.shape[1]

    def _weighted(self, values: Tensor, labels: Tensor) -> Tensor:
        """`values` [B, ...], each times the factor of its sample's class."""
        if self.class_weights == NONE:
            return values
        if self.factors is None:
            raise ValueError(
                "loss.class_weights are scaled by the training labels: call prepare(labels, num_labels) "
                "first, and use what it returns."
            )
        factors = self.factors.to(values)
        own = labels.to(values) @ factors if labels.dim() == 2 else factors[labels]
        return values * own.view(-1, *[1] * (values.dim() - 1))

    def _refuse_targets(self, labels: Tensor) -> None:
        if not self.is_plain and are_targets(labels):
            raise ValueError(
                "Labels are numbers, a regression's: loss.label_smoothing and loss.class_weights are about "
                "classes. Leave them out."
            )


def _numbers(given: str | Sequence[float]) -> tuple[float, ...]:
    """`"1,4"` or `[1, 4]` -> `(1.0, 4.0)`. Raises `ValueError` for what is no list of numbers from 0 on."""
    parts = given.split(",") if isinstance(given, str) else given
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        numbers = ()
    if not numbers or not all(0 <= number < float("inf") for number in numbers):
        raise ValueError(
            f"loss.class_weights must be {NONE}, {BALANCED} or numbers from 0 on, one for each class, such "
            f"as 1,4, not {given!r}."
        )
    return numbers
