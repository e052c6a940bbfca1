"""The order of training samples: every environment in equal parts, or as in the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from .environment_dataset import REPEATS, EnvironmentDataset
from .targets import CLASSIFICATION


class EnvironmentSampler(Sampler[int]):
    """An order in which every run of consecutive indices holds the environments in the asked proportions.

    Batches of any size, accumulation windows and the shards of any number of processes are runs of this
    order, so all of them are balanced, and the samples of a global batch do not depend on how it is divided.

    `environments`: int64 [N]. `proportions`: `"equal"` (each environment once per round, so k consecutive
    rounds hold k of each) or `"natural"` (as in the data, up to one or two samples). `replacement`: draw
    independently within each environment. `repeats`: int64 [N], how often each sample counts; once if not
    given. `step`: the number of samples of an optimizer step: with equal proportions no environment that is
    large enough gives one sample twice to as many consecutive indices, and a smaller one goes round in its
    order. An epoch has N samples, repeats included; with equal proportions a small environment is reshuffled
    and repeated. Call `set_epoch` for another order; the order is a function of (seed, epoch).
    """

    def __init__(
        self,
        environments: Tensor | Sequence[int],
        proportions: str = "equal",
        replacement: bool = False,
        seed: int = 0,
        repeats: Tensor | Sequence[int] | None = None,
        step: int = 1,
    ):
        if proportions not in ("equal", "natural"):
            raise ValueError(f"proportions must be 'equal' or 'natural', not {proportions!r}.")
        ids = np.asarray(environments)
        if len(ids) == 0:
            raise ValueError("There is nothing to sample: the dataset is empty.")
        order = np.argsort(ids, kind="stable")
        if repeats is not None:
            order = np.repeat(order, np.asarray(repeats)[order])
        self.members = np.split(order, np.flatnonzero(np.diff(ids[order])) + 1)
        self.num_samples = len(order)
        self.proportions = proportions
        self.replacement = replacement
        self.share = -(-step // len(self.members))  # of an environment in a step, at most
        self.seed = seed
        self.epoch = 0

    @classmethod
    def of(
        cls,
        rows: EnvironmentDataset,
        proportions: str,
        replacement: bool = False,
        seed: int = 0,
        step: int = 1,
    ) -> EnvironmentSampler:
        """The order of a data set's rows; `"groups"`: every class in every environment once per round,
        `"classes"`: every class."""
        kinds = {"groups": lambda: rows.groups, "classes": lambda: rows.labels}.get(proportions)
        return cls(
            rows.environments if kinds is None else kinds(),
            proportions if kinds is None else "equal",
            replacement,
            seed,
            rows.columns.get(REPEATS),
            step,
        )

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        members = [self.members[i] for i in rng.permutation(len(self.members))]
        if self.proportions == "equal":
            rounds = -(-self.num_samples // len(members))
            drawn = np.stack([self._draw(rows, rounds, rng) for rows in members], axis=1)
            order = drawn.reshape(-1)[: self.num_samples]
        else:
            # Sample k of n gets the time (k + u) / n: each environment is spread evenly over the epoch.
            times = [(np.arange(len(rows)) + rng.random()) / len(rows) for rows in members]
            drawn = np.concatenate([self._draw(rows, len(rows), rng) for rows in members])
            order = drawn[np.argsort(np.concatenate(times), kind="stable")]
        return iter(order.tolist())

    def _draw(self, rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        if self.replacement:
            return rng.choice(rows, count)
        drawn = [rng.permutation(rows)]
        for _ in range(-(-count // len(rows)) - 1):
            drawn.append(_next_pass(drawn[-1], min(self.share, len(rows)), rng))
        return np.concatenate(drawn)[:count]


def drawn_shares(rows: EnvironmentDataset, proportions: str) -> Tensor:
    """The share of each class in each environment in what `EnvironmentSampler.of` draws from a data set's
    rows, float64 [E, C]; where rows have no class [E, 1]."""
    number = len(rows.environment_names)
    classed = rows.has_labels and rows.task == CLASSIFICATION
    classes = max(len(rows.label_names), int(rows.labels.max()) + 1) if classed else 1
    labels = rows.labels if classed else torch.zeros(len(rows), dtype=torch.long)
    repeats = rows.columns.get(REPEATS)
    weights = torch.ones(len(rows)) if repeats is None else repeats
    counts = torch.bincount(rows.environments * classes + labels, weights.double(), number * classes)
    counts = counts.view(number, classes)
    match proportions:
        case "equal":
            parts = counts.sum(1, keepdim=True)
        case "classes":
            parts = counts.sum(0, keepdim=True)
        case "groups":
            parts = counts
        case _:
            parts = counts.sum()
    shares = torch.where(counts > 0, counts / parts.clamp_min(1e-300), 0)
    return shares / shares.sum()


def _next_pass(last: np.ndarray, apart: int, rng: np.random.Generator) -> np.ndarray:
    """Another order of the rows of `last`: each lies at least `apart` places behind where it was."""
    ready = len(last) - apart + 1  # so many may come first; then each place sets another one free
    free, order = last[:ready].tolist(), []
    for row in last[ready:].tolist():
        order.append(free.pop(int(rng.integers(len(free)))))
        free.append(row)
    return np.concatenate([np.array(order, dtype=last.dtype), rng.permutation(np.array(free, last.dtype))])
