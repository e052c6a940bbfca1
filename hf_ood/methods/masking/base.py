"""What is done to features on the way forward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

Head = Callable[[Tensor], Tensor]


@dataclass
class FeatureTransform(ABC):
    """Base class of forward-side methods. A method is a dataclass: its fields are its hyper-parameters.

    The model calls it between features and head, in training only. `progress`, the share of the training
    that is done (0..1), is set by the trainer before each step.
    """

    name: ClassVar[str]
    equation: ClassVar[str] = ""
    """What becomes of the features z, in LaTeX, for model cards."""
    citation: ClassVar[str] = ""
    """The paper, as a BibTeX entry."""
    needs_classes: ClassVar[bool] = False
    progress: float = field(default=0.0, init=False, repr=False, compare=False)

    @abstractmethod
    def __call__(
        self, features: Tensor, head: Head, labels: Tensor | None, places: Tensor | None = None
    ) -> Tensor:
        """`features`: a map [B, C, H, W], a sequence [B, T, D] or vectors [B, D]; `head`: features -> logits
        [B, classes]; `labels` int64 [B]. `places`: of a sequence, bool [B, T], the tokens that are neither
        padding nor the class token; all by default. Returns the new features."""
