"""Weights of samples by their classes, from how often the classes occur in the training data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ...options import Search, option
from .base import SampleLoss
from .closed_forms import are_targets

NONE, BALANCED, SQUARE_ROOT, EFFECTIVE = NAMED = ("none", "balanced", "square_root", "effective")
HELP = (
    "none | balanced (1 / n, so that every class counts the same in the training data) | square_root "
    "(1 / sqrt n, half-way) | effective (1 / (1 - effective_beta^n), by effective numbers of samples) | a "
    "number for each class in the order of the labels, as 1,4. Scaled to mean 1 over the training samples."
)
EFFECTIVE_HELP = (
    "Of class_weights effective: the nearer to 1, the fewer samples repeat others (Cui et al. 2019: 0.9999)."
)


def class_weights_option() -> Any:
    """The option `class_weights`, the same of every loss that has it."""
    return option(NONE, HELP)


def effective_beta_option() -> Any:
    """The option `effective_beta`, the same of every loss that has it."""
    search = Search(0.99, 0.99999, "SubpopBench", only_with=("class_weights", "effective"))
    return option(0.9999, EFFECTIVE_HELP, search=search)


class ClassWeighted(SampleLoss):
    """Base class of losses of classes that weigh samples by their class; a mixed sample has the mean of its
    classes' weights.

    A subclass declares the fields `class_weights`, `effective_beta` and `factors`, and gives the losses,
    residuals and slopes that samples have without weights. Weights are scaled to mean 1 over the training
    samples, so that risks keep their scale, which takes `prepare`. Effective numbers of samples: Cui et al.
    2019, arXiv:1901.05555.
    """

    regression: ClassVar[bool | None] = False

    class_weights: str | Sequence[float]
    effective_beta: float
    factors: Tensor | None
    """What each class's samples are multiplied by, float [C], once `prepare` knows it."""

    def __post_init__(self) -> None:
        if self.class_weights not in NAMED:
            self.class_weights = numbers("class_weights", self.class_weights, NAMED)
        if not 0 <= self.effective_beta < 1:
            raise ValueError(
                f"loss.effective_beta must lie in 0..1, without 1, not {self.effective_beta:g}: with 1 "
                "nothing repeats, which is class_weights balanced."
            )

    @property
    def counts_classes(self) -> bool:
        return self.class_weights in (BALANCED, SQUARE_ROOT, EFFECTIVE)

    def prepare(self, labels: Tensor, num_labels: int) -> Self:
        """The same loss with the factors of its classes, float [C], from training labels int64 [N].

        Raises `ValueError` for a regression, and for another number of weights than `num_labels`.
        """
        self.refuse_targets(labels)
        if self.class_weights == NONE:
            return self
        counts = class_counts(labels, num_labels)
        weights = self._weights(counts)
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

    def _weights(self, counts: Tensor) -> Tensor:
        """The weight of each class, in proportion, from how often it occurs, float64 [C] each."""
        known = counts.clamp_min(1)
        match self.class_weights:
            case "balanced":
                weights = 1 / known
            case "square_root":
                weights = known.rsqrt()
            case "effective":
                # 1 - beta^n to the last digit, and 1 for beta = 0.
                logarithm = torch.log(torch.tensor(self.effective_beta, dtype=known.dtype))
                weights = -1 / torch.expm1(known * logarithm)
            case _:
                return torch.tensor(self.class_weights, dtype=counts.dtype, device=counts.device)
        return torch.where(counts > 0, weights, 0)

    @abstractmethod
    def unweighted(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each sample without weights -> [B]."""

    @abstractmethod
    def unweighted_residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Its gradient in the logits -> [B, C]."""

    @abstractmethod
    def unweighted_slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The inner product of that and the logits -> [B]."""

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._weighted(self.unweighted(logits, labels), labels)

    def residuals(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._weighted(self.unweighted_residuals(logits, labels), labels)

    def slopes(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._weighted(self.unweighted_slopes(logits, labels), labels)

    def _weighted(self, values: Tensor, labels: Tensor) -> Tensor:
        """`values` [B, ...], each times the factor of its sample's class."""
        if self.class_weights == NONE:
            return values
        if self.factors is None:
            raise unprepared("loss.class_weights are scaled by the training labels")
        factors = self.factors.to(values)
        own = labels.to(values) @ factors if labels.dim() == 2 else factors[labels]
        return values * own.view(-1, *[1] * (values.dim() - 1))

    def refuse_targets(self, labels: Tensor) -> None:
        """Raises `ValueError` for labels that are a regression's targets."""
        if are_targets(labels):
            raise ValueError(
                f"{self.name} is not the loss of these data, whose labels are numbers, a regression's: give "
                "squared_error or huber."
            )


def class_counts(labels: Tensor, num_labels: int) -> Tensor:
    """How often each class occurs in labels int64 [N] -> float64 [C]."""
    return torch.bincount(labels, minlength=num_labels).double()


def unprepared(why: str) -> ValueError:
    return ValueError(f"{why}: call prepare(labels, num_labels) first, and use what it returns.")


def numbers(name: str, given: str | Sequence[float], named: Sequence[str]) -> tuple[float, ...]:
    """`"1,4"` or `[1, 4]` -> `(1.0, 4.0)`. Raises `ValueError` for what is no list of numbers from 0 on."""
    parts = given.split(",") if isinstance(given, str) else given
    try:
        found = tuple(float(part) for part in parts)
    except ValueError:
        found = ()
    if not found or not all(0 <= number < float("inf") for number in found):
        raise ValueError(
            f"loss.{name} must be {', '.join(named)} or numbers from 0 on, one for each class, such "
            f"as 1,4, not {given!r}."
        )
    return found
