"""What an objective is: a function of per-environment sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...options import option
from ..losses import CrossEntropy, SampleLoss
from ..losses.base import along, gradient_in_logits
from . import functional as F_ood
from .squared_norm import squared_norm
from .steps import check_not_negative, check_outlasted, resolve_steps

Sums = dict[str, Tensor]  # each [E, ...]


@dataclass(frozen=True, eq=False)
class Outputs:
    """What an objective sees of a micro-batch: logits [B, C], labels int64 [B] (or, of mixed samples, float
    shares of classes [B, C]; of a regression, floats [B]), environments [B], and E.

    `features` [B, D] are what the classifier, the last linear layer, sees; None unless the objective
    `needs_features`. `loss` says what a sample costs. `given_losses` [B] are losses that somebody has
    computed from `logits` already; they then take the place of `loss`, and labels may be None.
    `auxiliary_losses` [B] are a loss of the network's own; `network` is all that it gave. `start_features`
    [B, D] are those of the network that the training started from; None unless the objective `needs_start`.
    `head` is that layer, features [B, D] -> logits [B, C]; None where there are no features.
    """

    logits: Tensor
    labels: Tensor | None
    environments: Tensor
    num_environments: int
    features: Tensor | None = None
    loss: SampleLoss = field(default_factory=CrossEntropy)
    given_losses: Tensor | None = None
    auxiliary_losses: Tensor | None = None
    network: Any = None
    start_features: Tensor | None = None
    head: Callable[[Tensor], Tensor] | None = None

    def added_up(self, **values: Tensor) -> Sums:
        """`count`, the number of samples of each environment, and the sums of `values` [B, ...] over them."""
        where, number = self.environments, self.num_environments
        ones = torch.ones_like(where, dtype=F_ood.at_least_float32(self.logits).dtype)
        sums = {name: F_ood.environment_sums(value, where, number) for name, value in values.items()}
        return {"count": F_ood.environment_sums(ones, where, number), **sums}

    def without_graph(self) -> Outputs:
        """What is worth keeping of it beyond the step."""
        auxiliary = self.auxiliary_losses
        return replace(
            self,
            logits=self.logits.detach(),
            features=None,
            given_losses=self.losses.detach(),
            auxiliary_losses=None if auxiliary is None else auxiliary.detach(),
            network=None,
            start_features=None,
            head=None,
        )

    @cached_property
    def losses(self) -> Tensor:
        """Loss of each sample -> [B]."""
        if self.given_losses is not None:
            return F_ood.at_least_float32(self.given_losses)
        return self.loss(self.logits, labels_of(self))

    @cached_property
    def slopes(self) -> Tensor:
        """Slope of each sample's loss in a scale on its logits, at scale 1 -> [B]."""
        if self.given_losses is not None:
            return along(self.residuals, F_ood.at_least_float32(self.logits))
        return self.loss.slopes(self.logits, labels_of(self))

    @cached_property
    def residuals(self) -> Tensor:
        """Gradient of each sample's loss in its own logits -> [B, C].

        Raises `ValueError` for given losses that autograd cannot follow back to the logits.
        """
        if self.given_losses is None:
            return self.loss.residuals(self.logits, labels_of(self))
        try:
            return gradient_in_logits(self.given_losses, self.logits)
        except RuntimeError as error:
            raise ValueError(
                "The objective differentiates the given losses in the logits, and autograd finds no way from "
                "the ones to the others: compute the losses from these very logits, with gradients enabled "
                "and logits that require them (under torch.no_grad: logits.detach().requires_grad_() inside "
                "torch.enable_grad), or give Outputs(..., labels, loss=...) instead."
            ) from error


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
    needs_start: ClassVar[bool] = False
    """True: it also needs the features of the network that the training started from, which takes a second
    forward pass."""
    needs_head: ClassVar[bool] = False
    """True: it also needs the classifier itself, to read other features out."""
    needs_classes: ClassVar[bool] = False
    """True: it compares samples of one class, so mixed samples, which have shares of several, are refused."""
    moves_features: ClassVar[bool] = False
    """True: beside the risk it is about features alone, so that on features that stay as they are it does
    nothing."""
    min_environments: ClassVar[int] = 1
    sums_by_options: ClassVar[bool] = False
    """True: `sums` depend on numbers among the options, so heads that differ in them add up one by one."""
    warmups: ClassVar[tuple[str, ...]] = ()
    """The options that say for how long the method waits: steps, or below 1 a share of the training's."""

    l2: float = option(0.0, "Weight of the squared norm of all parameters (report 5.4; IRM paper: 0.0011).")
    progress: float = field(default=0.0, init=False, repr=False, compare=False)
    total_steps: int = field(default=0, init=False, repr=False, compare=False)
    """Optimizer steps of the training; 0 before `start`."""
    group_shares: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    """What share of the drawn training samples each class in each environment has, float64 [E, C] ([E, 1]
    where there are no classes); set before `build`."""

    def __post_init__(self) -> None:
        for name in self.warmups:
            check_not_negative(f"{self.name}.{name}", getattr(self, name))

    @property
    def kind(self) -> str:
        """What its state in a checkpoint is called."""
        return self.name

    def start(self, total_steps: int) -> None:
        """A training of `total_steps` optimizer steps begins: forget what lives between steps.

        Networks that `build` made stay as they are. State that is to go on is loaded after this. Raises
        `ValueError` for a warm-up that outlasts the training.
        """
        self.progress, self.total_steps = 0.0, total_steps
        for name in self.warmups:
            if total_steps:
                check_outlasted(f"{self.name}.{name}", self.steps_of(name), total_steps)

    def steps_of(self, name: str) -> int:
        """The option `name`, a number of steps or a share of the training's, in optimizer steps.

        Raises `ValueError` for a share before `start`, which tells how many there are.
        """
        value = getattr(self, name)
        if 0 < value < 1 and not self.total_steps:
            raise ValueError(
                f"{self.name}.{name} is {value:g}, a share of the training's steps, and how many there are "
                "is not known: call start(total_steps) before the first step, or give a number of steps."
            )
        return resolve_steps(value, self.total_steps)

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
        return outputs.added_up(loss=outputs.losses)

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
        return self.l2 * self.scale(step) * squared_norm(parameters)

    def resets_optimizer(self, step: int) -> bool:
        """Whether the optimizer's moments are cleared before step `step`."""
        return False

    def state_dict(self) -> dict[str, Tensor]:
        """State between steps, weights of its own networks included, saved with every checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""


def labels_of(outputs: Outputs) -> Tensor:
    """The labels. Raises `ValueError` where there are none."""
    if outputs.labels is None:
        raise ValueError(
            "This method needs labels, and a loss that is given in their place does not tell them: give "
            "Outputs(logits, labels, ...)."
        )
    return outputs.labels


def features_of(outputs: Outputs) -> Tensor:
    """The features [B, D]. Raises `ValueError` where nobody collected them."""
    if outputs.features is None:
        raise ValueError("This objective compares features: give Outputs(..., features=[B, D]).")
    return outputs.features


def head_of(outputs: Outputs) -> Callable[[Tensor], Tensor]:
    """The classifier. Raises `ValueError` where nobody gave it."""
    if outputs.head is None:
        raise ValueError("This objective reads out other features too: give Outputs(..., head=classifier).")
    return outputs.head


def risks(totals: Sums) -> Tensor:
    """Mean loss of each environment -> [E]."""
    return F_ood.environment_means(totals["loss"], totals["count"])
