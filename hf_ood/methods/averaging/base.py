"""What becomes of the weights that a training passes through."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


@dataclass
class Averaging(ABC):
    """Base class. A method is a dataclass: its fields are its hyper-parameters.

    The trainer calls `begin` before the first step, `update` after every optimizer step and `evaluated` after
    every evaluation of the validation set. While training it evaluates and saves `average`, and it ends with
    `final`.
    """

    name: ClassVar[str]
    equation: ClassVar[str] = ""
    """What it does, in LaTeX, for model cards."""
    citation: ClassVar[str] = ""
    """The paper, as a BibTeX entry."""
    selection: ClassVar[str] = ""
    """The rule that chose the final weights, in words, where the average is itself the choice: no checkpoint
    is chosen then. Empty: checkpoints hold averages, and one of them may be chosen as usual."""
    needs_validation: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all weights: a training begins."""
        self.average: Weights = {}  # what evaluations and checkpoints get; empty: the weights as they are
        self.count = 0  # of weights in it

    def begin(self, weights: Mapping[str, Tensor]) -> None:
        """Take in the weights before the first step of a training."""

    @abstractmethod
    def update(self, weights: Mapping[str, Tensor], step: int, max_steps: int) -> None:
        """Take in the weights after optimizer step `step` of `max_steps`, counted from 1."""

    def evaluated(self, loss: float) -> None:
        """Take in the validation loss of the weights as they are now."""

    @property
    def final(self) -> Weights:
        """What the training ends with; empty: the weights as they are."""
        return self.average

    def state_dict(self) -> dict[str, Tensor]:
        """State between steps, saved with every checkpoint."""
        return {"count": torch.tensor(self.count), **prefixed("average", self.average)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.count, self.average = int(state["count"]), unprefixed("average", state)


def averaged_tensors(model: nn.Module) -> Weights:
    """What is averaged, not copied: trainable parameters and floating-point buffers, by name.

    So statistics of BatchNorm are averaged like weights, not measured again. The same tensors serve every
    process under DDP; nothing else changes in training.
    """
    trainable = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return trainable | {name: b for name, b in model.named_buffers() if b.is_floating_point()}


def copied(weights: Mapping[str, Tensor]) -> Weights:
    """A copy in float32 or better: a mean of many needs the digits."""
    return {name: w.to(torch.promote_types(w.dtype, torch.float32), copy=True) for name, w in weights.items()}


def move(average: Weights, weights: Mapping[str, Tensor], share: float) -> None:
    """Move the average towards the weights by a share of the way, in place."""
    for name, value in average.items():
        value.lerp_(weights[name].to(value), share)


def prefixed(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value for name, value in weights.items()}


def unprefixed(prefix: str, state: Mapping[str, Tensor]) -> Weights:
    names = [name.removeprefix(f"{prefix}/") for name in state if name.startswith(f"{prefix}/")]
    return {name: state[f"{prefix}/{name}"] for name in names if name}


def put(weights: Mapping[str, Tensor], model: nn.Module) -> None:
    """Write weights into a model, in its own types; what they do not name stays."""
    tensors = averaged_tensors(model)
    for name, value in weights.items():
        tensors[name].copy_(value)
