"""The linear layers that a head consists of, and what methods take for its features."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...models import LinearForImageClassification, MLPForImageClassification
from ..linear_probe import Probe


class Features(Enum):
    """What methods compare or mask: the vectors that go in, the last hidden layer, or the logits."""

    INPUTS = "inputs"
    HIDDEN = "hidden"
    LOGITS = "logits"


class Layers(NamedTuple):
    """`names`: of the linear layers of a network, in order, with a ReLU between two of them."""

    names: list[str]
    features: Features

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The names of each layer's weight and bias."""
        return [(f"{name}.weight".lstrip("."), f"{name}.bias".lstrip(".")) for name in self.names]


def find_layers(network: nn.Module) -> Layers:
    """Raises `ValueError` for a network that is neither a linear layer nor several with ReLUs between."""
    if isinstance(network, MLPForImageClassification) and network.config.num_features is not None:
        hidden = [f"hidden.{name}" for name, layer in network.hidden.named_children() if _is_linear(layer)]
        layers = Layers([*hidden, "classifier"], Features.HIDDEN)
    elif isinstance(network, LinearForImageClassification):
        layers = Layers(["representation"], Features.LOGITS)
    elif isinstance(network, Probe):
        layers = Layers(["classifier"], Features.INPUTS)
    elif isinstance(network, nn.Linear):
        layers = Layers([""], Features.INPUTS)
    else:
        raise ValueError(
            f"{type(network).__name__} is no head of vectors: use linear, mlp (with num_features) or an "
            "nn.Linear, or train it with OODTrainer."
        )
    known = {name for pair in layers.parameters for name in pair}
    linear = all(_is_linear(network.get_submodule(name)) for name in layers.names)
    if not linear or {name for name, own in network.named_parameters() if own.requires_grad} != known:
        raise ValueError(
            f"The {type(network).__name__} is no stack of linear layers with a bias that all train: train it "
            "with OODTrainer."
        )
    return layers


def _is_linear(layer: nn.Module) -> bool:
    return type(layer) is nn.Linear  # a subclass computes something else


class Stack:
    """The weights of `number` heads of one network, `[number, ...]` each, all as `network` has them now, and
    their gradients."""

    def __init__(self, network: nn.Module, layers: Layers, number: int):
        own = dict(network.named_parameters())
        self.layers = layers
        self.weights = {
            name: own[name].detach().repeat(number, *[1] * own[name].dim())
            for pair in layers.parameters
            for name in pair
        }
        self.gradients = {name: torch.zeros_like(value) for name, value in self.weights.items()}

    def of(self, head: int) -> dict[str, Tensor]:
        """The weights of one head, not copied."""
        return {name: value[head] for name, value in self.weights.items()}


def first_layer(stack: Stack, inputs: Tensor, heads: int) -> Tensor:
    """What the first layers of the first `heads` heads make of `inputs` [B, D] -> [heads, B, K],
    `by_columns`; one matrix product."""
    weight, bias = (stack.weights[name][:heads] for name in stack.layers.parameters[0])
    together = torch.addmm(bias.flatten(), inputs, weight.flatten(0, 1).mT)
    return by_columns(together.view(len(inputs), heads, -1).transpose(0, 1))


def first_layer_gradients(stack: Stack, inputs: Tensor, slopes: Tensor) -> None:
    """The gradients of the first layers of as many heads as `slopes` [heads, B, K], those of the layers'
    outputs, are of."""
    heads = len(slopes)
    weight, bias = (stack.gradients[name][:heads] for name in stack.layers.parameters[0])
    together = slopes.mT.flatten(0, 1)
    torch.mm(together, inputs, out=weight.flatten(0, 1))
    torch.sum(together, 1, out=bias.flatten())


def by_columns(values: Tensor) -> Tensor:
    """[n, B, C] so that those of one column c lie side by side: what goes over few columns, such as softmax,
    then goes fast."""
    return values.permute(2, 0, 1).contiguous().permute(1, 2, 0)


def logits_of(weights: Mapping[str, Tensor], layers: Layers, inputs: Tensor) -> Tensor:
    """The logits of all heads -> [heads, N, C], without graph."""
    (weight, bias), *others = [(weights[one], weights[two]) for one, two in layers.parameters]
    heads, size = weight.shape[:2]
    values = torch.addmm(bias.flatten(), inputs, weight.flatten(0, 1).mT)
    values = values.view(len(inputs), heads, size).transpose(0, 1)
    for weight, bias in others:
        values = torch.baddbmm(bias[:, None], values.relu(), weight.mT)
    return values
