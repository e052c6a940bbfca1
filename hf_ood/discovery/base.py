"""What a reference model says of samples, and what turns it into environments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..data import EnvironmentDataset
from ..data.align import placeholders, with_classes_of
from ..data.targets import task_of
from ..models.classes import class_names
from ..models.run_over_dataset import batches_of, run_over


@dataclass(frozen=True)
class Reference:
    """A reference model's view of N samples: `logits` float [N, C], `labels` int64 [N] (a regression's
    targets: float [N]; several labels: float [N, C]), and `features` float [N, D], which only some inferences
    need."""

    logits: Tensor
    labels: Tensor
    features: Tensor | None = None

    @property
    def wrong(self) -> Tensor:
        """Whether the model misclassifies each sample, bool [N]. Raises `ValueError` where there are no
        classes."""
        if self.labels.is_floating_point():
            raise ValueError(
                f"A {task_of(self.labels)} has errors of every size, none of which is a wrong class."
            )
        return self.logits.argmax(1) != self.labels

    @classmethod
    def of(
        cls, model: nn.Module, dataset: EnvironmentDataset, features: bool = False, batch_size: int = 1000
    ) -> Reference:
        """Run the model over the data set as it is, without its transform; `features`: keep them too.

        The features are what the last linear layer sees. Raises `ValueError` when the model has none.
        """
        config = getattr(model, "config", None)
        if config is not None and not placeholders(class_names(config)):
            dataset = with_classes_of(dataset, class_names(config), "the data set", "the reference model")
        logits, seen = [], []
        batches = batches_of(dataset.with_transform(None), batch_size)
        for output, own in run_over(model, batches, features):
            logits.append(output.logits.float().cpu())
            if own is not None:
                seen.append(own.float().cpu())
        return cls(torch.cat(logits), dataset.labels, torch.cat(seen) if features else None)


@dataclass
class EnvironmentInference(ABC):
    """Base class of ways to infer environments. One is a dataclass: its fields are its hyper-parameters."""

    name: ClassVar[str]
    equation: ClassVar[str] = ""
    """What the assignment maximises or minimises, in LaTeX, for model cards."""
    citation: ClassVar[str] = ""
    """The paper, as a BibTeX entry."""
    needs_reference: ClassVar[bool] = True
    needs_features: ClassVar[bool] = False

    @property
    @abstractmethod
    def number(self) -> int:
        """How many environments it makes."""

    @abstractmethod
    def infer(self, reference: Reference, seed: int) -> Tensor:
        """Environments of the reference's samples, int64 [N] in 0..number-1; a function of both arguments."""
