"""Refuse, before any training starts, what could not work or would silently compute something else."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from ..data import EnvironmentDataset
from ..objectives import Objective
from .ood_config import OODConfig


def check_class(trainer: str, method: Any, expected: type) -> None:
    """A named trainer runs its own method and no other."""
    if not isinstance(method, expected):
        raise TypeError(
            f"{trainer} takes {expected.__name__}, not {type(method).__name__}; OODTrainer takes any."
        )


def takes_transform(model: nn.Module) -> bool:
    """Whether the network's own forward pass hands its features to a `feature_transform`."""
    return "feature_transform" in inspect.signature(model.forward).parameters


def check_divisible(objective: Objective, args: OODConfig, processes: int) -> None:
    if not objective.additive and (args.gradient_accumulation_steps > 1 or processes > 1):
        raise ValueError(
            f"{objective.name} is not a function of sums over samples: on parts of a batch it is another "
            "objective. Use one process and gradient_accumulation_steps=1 (with a larger batch), or "
            "another method."
        )


def check_data(
    dataset: EnvironmentDataset, objective: Objective, model: nn.Module, args: OODConfig, processes: int
) -> None:
    """Enough environments, labels in range, at least one batch, no environment smaller than its part of a
    batch."""
    counts = dataset.environment_counts()
    if len(counts) < objective.min_environments:
        raise ValueError(
            f"{objective.name} compares environments: it needs at least {objective.min_environments}, the "
            f"training set has {len(counts)} ({', '.join(counts)}). Train on more, or use erm or rsc."
        )
    num_labels = getattr(getattr(model, "config", None), "num_labels", None)
    if num_labels is not None and int(dataset.labels.max()) >= num_labels:
        raise ValueError(
            f"Labels reach {int(dataset.labels.max())}, but the model has {num_labels} classes: build it "
            f"with num_labels={len(dataset.label_names)}."
        )
    batch = args.per_device_train_batch_size
    if len(dataset) < batch * processes and args.dataloader_drop_last:
        raise ValueError(
            f"{len(dataset)} training samples do not fill one batch of {batch} on each of {processes} "
            "process(es): lower per_device_train_batch_size."
        )
    smallest = min(counts, key=counts.__getitem__)
    share = batch // len(counts)
    if (
        args.environment_proportions == "equal"
        and not args.sample_with_replacement
        and counts[smallest] < share
    ):
        raise ValueError(
            f"Environment {smallest!r} has {counts[smallest]} samples, fewer than its {share} of a batch of "
            f"{batch}: lower per_device_train_batch_size, or set environment_proportions='natural' or "
            "sample_with_replacement=True."
        )


def common_environment_names(datasets: Mapping[str, EnvironmentDataset]) -> list[str]:
    """The one list of environment names that all splits share. Raises `ValueError` when they differ."""
    names = {split: dataset.environment_names for split, dataset in datasets.items()}
    first = next(iter(names), "")
    for split, own in names.items():
        if own != names[first]:
            raise ValueError(
                f"The splits name their environments differently: {first} has {names[first]}, {split} has "
                f"{own}. Give all splits one ClassLabel with all names."
            )
    return names.get(first, [])
