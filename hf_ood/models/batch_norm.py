"""Layers whose statistics run along with the training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .modes import evaluation_mode
from .run_over_dataset import placed


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The model's batch normalisations that keep running statistics.

    While training they normalise by the mean and variance of one micro-batch on one process, over all its
    environments together: a sample's output depends on the environments beside it, and to divide a batch over
    processes or accumulation steps changes the network (not how an objective adds up). Running statistics
    follow that mixture, on the first process of several, and serve every environment in evaluation.
    """
    return [
        module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats
    ]


class _SeenEnough(Exception):
    """Ends a pass through the network behind the layer that is measured."""


@torch.no_grad()
def measure_batch_norms(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    norms: Sequence[nn.Module] | None = None,
) -> list[nn.Module]:
    """Give batch normalisations the mean and variance of their inputs over all samples of `batches`, and
    return those that the network ran, in its order.

    The statistics are those that a layer's inputs have in evaluation mode, the variance unbiased as torch
    keeps it, whatever batches the samples are divided into: sums in float64, layer after layer, since those
    of one layer change the inputs of the next. So `batches` are run over once for each layer, as far as that
    layer; they must be something that can be gone through again, such as a `DataLoader` in order or a list.
    `norms`: the layers to measure; default: all of `batch_norms`. A layer that the network runs several times
    takes all its inputs together.
    Raises `ValueError` where a layer sees fewer than two values of a channel.
    """
    chosen = batch_norms(model) if norms is None else list(norms)
    with evaluation_mode(model):
        order = _order(model, batches, chosen)
        for norm, calls in order.items():
            _measure(norm, calls, model, batches)
    return list(order)


def _order(
    model: nn.Module, batches: Iterable[Mapping[str, Tensor]], norms: Sequence[nn.Module]
) -> dict[nn.Module, int]:
    """The layers in the order in which the network runs them first, and how often it runs each."""
    calls: dict[nn.Module, int] = {}

    def count(module: nn.Module, inputs: Any) -> None:
        calls[module] = calls.get(module, 0) + 1

    handles = [norm.register_forward_pre_hook(count) for norm in norms]
    try:
        for batch in batches:
            model(**placed(batch, model))
            break
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _measure(norm: Any, calls: int, model: nn.Module, batches: Iterable[Mapping[str, Tensor]]) -> None:
    total = torch.zeros_like(norm.running_mean, dtype=torch.float64)
    squares, number, left = torch.zeros_like(total), 0, 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal number, left
        values = inputs[0].double().transpose(0, 1).flatten(1)  # [channels, values]
        total.add_(values.sum(1))
        squares.add_(values.square().sum(1))
        number, left = number + values.shape[1], left - 1
        if left == 0:
            raise _SeenEnough

    handle = norm.register_forward_pre_hook(add)
    try:
        for batch in batches:
            left = calls
            with suppress(_SeenEnough):
                model(**placed(batch, model))
    finally:
        handle.remove()
    if number < 2:
        raise ValueError("Statistics of batch normalisation need at least two values of each channel.")
    mean = total / number
    norm.running_mean.copy_(mean)
    norm.running_var.copy_((squares - number * mean.square()).clamp(min=0) / (number - 1))
