"""The one way in which a trained network runs over a data set, whose rows may be in memory or on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler

from ..data import EnvironmentDataset, collate
from ..data.environment_dataset import TARGETS
from .modes import evaluation_mode
from .penultimate import Penultimate


def batches_of(dataset: EnvironmentDataset, batch_size: int, num_workers: int = 0) -> DataLoader:
    """All rows in order, collated."""
    return DataLoader(
        dataset,
        batch_size,
        sampler=SequentialSampler(dataset),
        collate_fn=collate,
        num_workers=num_workers if len(dataset) else 0,
    )


@torch.no_grad()
def run_over(
    model: nn.Module, batches: Iterable[Mapping[str, Tensor]], features: bool = False
) -> Iterator[tuple[Any, Tensor | None]]:
    """The network's output for batch after batch, and what its last linear layer sees, [B, D], if `features`
    (otherwise None).

    It runs in evaluation mode (no dropout, running statistics), where it lies. Raises `ValueError` when it is
    to give features and has no linear layer.
    """
    penultimate = Penultimate(model) if features else None
    with evaluation_mode(model):
        for batch in batches:
            with penultimate or nullcontext():
                output = model(**placed(batch, model))
            yield output, None if penultimate is None else penultimate.take()


def placed(batch: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """What the network reads of a batch, on its device; images and vectors in its precision, tokens as they
    are."""
    own = next(model.parameters())
    inputs = {name: values for name, values in batch.items() if name not in TARGETS}
    kinds = {name: own.dtype if values.is_floating_point() else None for name, values in inputs.items()}
    return {name: values.to(own.device, kinds[name]) for name, values in inputs.items()}
