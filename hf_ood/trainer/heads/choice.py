"""What validation makes of heads while they train: the best weights of each, and the loss that averages go
by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...data import EnvironmentDataset
from ...methods.losses.closed_forms import sample_losses
from .layers import Layers, logits_of

ROWS_AT_ONCE = 4096


class Measured(NamedTuple):
    """Of each head, by environment id: correct predictions and sums of the cross-entropy, [heads, E]; and the
    samples, [E]."""

    correct: np.ndarray
    loss: np.ndarray
    samples: np.ndarray

    @property
    def present(self) -> np.ndarray:
        return np.flatnonzero(self.samples)

    def metric(self, name: str) -> np.ndarray:
        """`mean_accuracy`, `worst_accuracy`, `accuracy` of all samples, and the same of `loss` -> [heads]."""
        over, _, measure = name.rpartition("_")
        sums = self.correct if measure == "accuracy" else self.loss
        if not over:
            return sums.sum(1) / self.samples.sum()
        values = sums[:, self.present] / self.samples[self.present]
        if over == "mean":
            return values.mean(1)
        return values.min(1) if measure == "accuracy" else values.max(1)


METRICS = [f"{over}{measure}" for over in ("", "mean_", "worst_") for measure in ("accuracy", "loss")]


@torch.no_grad()
def measure(weights: Mapping[str, Tensor], layers: Layers, rows: EnvironmentDataset) -> Measured:
    """What heads with these weights, [heads, ...] each, make of rows with vectors and classes."""
    some = next(iter(weights.values()))
    number, heads = len(rows.environment_names), len(some)
    correct = torch.zeros(number, heads, dtype=torch.float64)
    loss = torch.zeros(number, heads, dtype=torch.float64)
    inputs, labels, environments = rows.columns["inputs"], rows.labels, rows.environments
    for index in torch.arange(len(rows)).split(ROWS_AT_ONCE):
        logits = logits_of(weights, layers, inputs[index].to(some))
        own = labels[index].to(some.device)
        right = (logits.argmax(2) == own).double().cpu()
        losses = sample_losses(logits.flatten(0, 1), own.repeat(heads)).view(heads, -1).double().cpu()
        correct.index_add_(0, environments[index], right.T)
        loss.index_add_(0, environments[index], losses.T)
    count = torch.bincount(environments, minlength=number)
    return Measured(correct.T.numpy(), loss.T.numpy(), count.numpy())


class Best:
    """The best weights of each head so far, by a metric that rises or falls."""

    def __init__(self, weights: Mapping[str, Tensor], metric: str):
        self.weights = {name: value.clone() for name, value in weights.items()}
        self.metric, self.rising = metric, metric.endswith("accuracy")
        number = len(next(iter(weights.values())))
        self.value = np.full(number, -np.inf if self.rising else np.inf)
        self.step = np.zeros(number, dtype=int)

    def take(self, weights: Mapping[str, Tensor], measured: Measured, step: int) -> None:
        value = measured.metric(self.metric)
        better = value > self.value if self.rising else value < self.value
        self.value[better], self.step[better] = value[better], step
        rows = torch.from_numpy(np.flatnonzero(better))
        for name, own in self.weights.items():
            own.index_copy_(0, rows.to(own.device), weights[name].index_select(0, rows.to(own.device)))


def with_averages(
    weights: Mapping[str, Tensor], averages: Sequence[Mapping[str, Tensor]]
) -> Mapping[str, Tensor]:
    """The weights with those of the heads that have an average, a copy; the very weights where none has."""
    if not any(averages):
        return weights
    found = {name: value.clone() for name, value in weights.items()}
    for head, average in enumerate(averages):
        for name, value in average.items():
            found[name][head] = value.to(found[name])
    return found
