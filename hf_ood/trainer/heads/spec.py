"""A head to train, and a trained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...methods.registry import Method, build_method


@dataclass(frozen=True)
class HeadSpec:
    """One head: what is minimised on which environments, from which seed.

    `method`: a name such as `irm+mixup`, whose parts get `options` (`{"irm": {"penalty_weight": 10.0}}`), or
    a `Method`. `environments`: names of those that are trained on; None: all that the features have. `seed`,
    `learning_rate`, `weight_decay`: those of the training arguments where they are None.
    """

    method: str | Method = "erm"
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int | None = None
    environments: Sequence[str] | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None

    def build(self) -> Method:
        """The method, new. Raises `ValueError` for unknown names and options."""
        return build_method(self.method, self.options) if isinstance(self.method, str) else self.method


@dataclass
class Head:
    """A trained head: the `weights` of the network's parameters, by name, each a tensor.

    `network`: the network that it is a head of, with its first weights. `best_step`: the optimizer step whose
    weights these are, where the validation chose; None: the last, or an average. `error`: why there is no
    use in the weights, such as a loss that was not finite; None: all went well. `together`: how many heads
    were trained in the same matrix products, 1 where it was trained alone.
    """

    spec: HeadSpec
    network: nn.Module
    weights: dict[str, Tensor]
    selection: str
    steps: int
    seconds: float
    cpu_seconds: float
    best_step: int | None = None
    error: str | None = None
    together: int = 1

    def model(self) -> nn.Module:
        """The network with the trained weights, to call and to save. It is the same object for all heads of
        one seed and one set of environments: use one after the other, or copy it."""
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(self.weights[name])
        return self.network
