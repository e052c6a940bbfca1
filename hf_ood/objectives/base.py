"""What an objective is: a function of per-environment sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..options import option
from . import functional as F_ood

Sums = dict[str, Tensor]  # each [E, ...]


class Outputs(NamedTuple):
    """What an objective sees of a micro-batch: logits [B, C], labels int64 [B] (or, of mixed samples, float
    shares of classes [B, C]), environments [B], and E.

    `features` [B, D] are what the classifier, the last linear layer, sees; None unless the objective
    `needs_features`.
    """

    logits: Tensor
    labels: Tensor
    environments: Tensor
    num_environments: int
    features: Tensor | None = None


@dataclass
class Objective(ABC):
    """Base class of what is minimised. A method is a dataclass: its fields are its hyper-parameters.

    The loss is `f(totals)`: `sums` gives what one micro-batch contributes (with graph), the trainer adds
    that up over micro-batches and processes, and `loss` is evaluated once, at the totals.
    `progress`, the share of the training that is done (0..1), is set by the trainer before each step.
    """

    name: ClassVar[str]
    equation: ClassVar[str] = ""
    """What is minimised, in LaTeX, for model cards: R_e is the risk of environment e of E."""
    citation: ClassVar[str] = ""
    """The paper, as a BibTeX entry."""
    additive: ClassVar[bool] = True
    """False: the loss is no function of sums (pairwise kernels); accumulation and processes are then
    refused."""
    linear: ClassVar[bool] = False
    """True: the loss is linear in all sums but `count`, so accumulation needs no forward pass in advance.
    The parts worth logging are then linear in them too."""
    needs_features: ClassVar[bool] = False
    needs_classes: ClassVar[bool] = False
    """True: it compares samples of one class, so mixed samples, which have shares of several, are refused."""
    min_environments: ClassVar[int] = 1

    l2: float = option(0.0, "Weight of the squared norm of all parameters (report 5.4; IRM paper: 0.0011).")
    progress: float = field(default=0.0, init=False, repr=False, compare=False)

    def build(self, feature_size: int, num_labels: int, present: Tensor) -> None:
        """Make the networks of its own, on the device of `present`; called once, before training.

        `feature_size`: D of the features, 0 unless the objective `needs_features`. `present`: bool [E], the
        environments that the training data have.
        """

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of its own, which the trainer optimises with the network's and never exports."""
        return []

    def learning_rate(self, main: float) -> float:
        """The initial learning rate of its own parameters, given the network's."""
        return main

    def players(self, step: int) -> tuple[bool, bool]:
        """Who moves in step `step`: the network, its own parameters."""
        return True, True

    def sums(self, outputs: Outputs) -> Sums:
        """Per-environment sums over this micro-batch's samples: `count` [E], `loss` [E], and what the
        method needs."""
        losses = F_ood.sample_losses(outputs.logits, outputs.labels)
        columns = torch.stack([torch.ones_like(losses), losses], dim=1)
        sums = F_ood.environment_sums(columns, outputs.environments, outputs.num_environments)
        return {"count": sums[:, 0], "loss": sums[:, 1]}

    def update(self, totals: Sums, step: int) -> None:
        """Advance state that lives between steps; called once per optimizer step, before `loss`, without
        graph."""

    @abstractmethod
    def loss(self, totals: Sums, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective at the totals of optimizer step `step` (from 0) -> loss [], parts worth logging."""

    def scale(self, step: int) -> float:
        """What the whole loss of a step is multiplied by."""
        return 1.0

    def parameter_penalty(self, parameters: Iterable[nn.Parameter], step: int) -> Tensor | None:
        """The term of the loss that depends on the weights alone -> [], or None."""
        if not self.l2:
            return None
        return self.l2 * self.scale(step) * torch.stack([p.square().sum() for p in parameters]).sum()

    def resets_optimizer(self, step: int) -> bool:
        """Whether the optimizer's moments are cleared before step `step`."""
        return False

    def state_dict(self) -> dict[str, Tensor]:
        """State between steps, weights of its own networks included, saved with every checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""


def features_of(outputs: Outputs) -> Tensor:
    """The features [B, D]. Raises `ValueError` where nobody collected them."""
    if outputs.features is None:
        raise ValueError("This objective compares features: give Outputs(..., features=[B, D]).")
    return outputs.features


def risks(totals: Sums) -> Tensor:
    """Mean loss of each environment -> [E]."""
    return F_ood.environment_means(totals["loss"], totals["count"])
