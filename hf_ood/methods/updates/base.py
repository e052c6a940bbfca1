"""What turns gradients into a step of the weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

Gradient = list[Tensor]  # one tensor for each trainable parameter, in float32 or better


class Slope(NamedTuple):
    """A loss [] and its gradient, where the weights are; the same on all processes."""

    loss: Tensor
    gradient: Gradient


class Direction(NamedTuple):
    """What the optimizer is given: a gradient; and what is logged: the loss [] and parts [] by name."""

    loss: Tensor
    gradient: Gradient
    parts: dict[str, Tensor]


class Window(Protocol):
    """All samples of one optimizer step: its micro-batches, on all processes.

    Whatever is asked of it is exact for the samples as a whole, and the same on all processes.
    """

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """The network's trainable parameters."""

    @property
    def environments(self) -> list[int]:
        """The environments that have samples in it."""

    @property
    def learning_rate(self) -> float:
        """The optimizer's, of this step."""

    @property
    def generator(self) -> torch.Generator:
        """Random numbers that depend on the run's seed and the number of the step alone."""

    def slope(self, environment: int | None = None) -> Slope:
        """The objective's value and gradient where the weights are; of one environment's samples if asked."""

    def curvature(self, environment: int, vector: Gradient) -> Gradient:
        """The Hessian of one environment's objective, times a vector. One backward pass through another."""

    def optimizer_step(self, gradient: Gradient) -> None:
        """Let the optimizer move the weights along a gradient, clipped as the trainer clips."""


@dataclass
class Update(ABC):
    """Base class. A method is a dataclass: its fields are its hyper-parameters.

    It is called once per optimizer step and gives the gradient that the trainer's optimizer then uses.
    """

    name: ClassVar[str]
    equation: ClassVar[str] = ""
    """What it does, in LaTeX, for model cards: R_e is the risk of environment e of E."""
    citation: ClassVar[str] = ""
    """The paper, as a BibTeX entry."""
    by_environment: ClassVar[bool] = False
    """True: it asks for environments one by one, so the objective must be a mean over them (ERM's is)."""
    differentiates_gradients: ClassVar[bool] = False
    """True: it asks for curvature, which a compiled network does not give."""
    min_environments: ClassVar[int] = 1

    @abstractmethod
    def __call__(self, window: Window) -> Direction:
        """The gradient for the optimizer. It may move the weights: the optimizer starts where they are
        left."""

    def after_step(self) -> None:
        """What is done to the weights after the optimizer's step."""


def environment_slopes(window: Window) -> tuple[Tensor, list[Gradient]]:
    """Losses [P] and gradients of the P environments that have samples, all at the present weights."""
    slopes = [window.slope(environment) for environment in window.environments]
    return torch.stack([slope.loss for slope in slopes]), [slope.gradient for slope in slopes]


def mean_gradient(gradients: Sequence[Gradient]) -> Gradient:
    return [torch.stack(parts).mean(0) for parts in zip(*gradients, strict=True)]
