"""Refuse, before any training starts, what could not work or would silently compute something else."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import nn
from transformers.utils import logging

from ..data import EnvironmentDataset
from ..mixing import Mixing
from ..objectives import Objective
from ..updates import Update
from .ood_config import OODConfig

logger = logging.get_logger(__name__)


def check_class(trainer: str, method: Any, expected: type) -> None:
    """A named trainer runs its own method and no other."""
    if not isinstance(method, expected):
        raise TypeError(
            f"{trainer} takes {expected.__name__}, not {type(method).__name__}; OODTrainer takes any."
        )


def takes_transform(model: nn.Module) -> bool:
    """Whether the network's own forward pass hands its features to a `feature_transform`."""
    return "feature_transform" in inspect.signature(model.forward).parameters


def check_precision(precision: str, device: torch.device) -> None:
    """Accelerate leaves float16 out on a CPU, without a word: everything would be in float32."""
    if precision == "fp16" and device.type == "cpu":
        raise ValueError(
            "fp16 does nothing on a CPU: Accelerate has no loss scale there and would train in "
            "float32. Use --bf16 true, which a CPU can, or leave --fp16 out."
        )


def check_divisible(objective: Objective, args: OODConfig, processes: int) -> None:
    if not objective.additive and (args.gradient_accumulation_steps > 1 or processes > 1):
        raise ValueError(
            f"{objective.name} is not a function of sums over samples: on parts of a batch it is another "
            "objective. Use one process and gradient_accumulation_steps=1 (with a larger batch), or "
            "another method."
        )


def check_update(
    update: Update,
    objective: Objective,
    mixing: Mixing | None,
    args: OODConfig,
    distributed_type: DistributedType,
) -> None:
    """What an update asks for exists: whole gradients on every process, risks of single environments, and
    derivatives of gradients."""
    if update.differentiates_gradients and args.torch_compile:
        raise ValueError(
            f"{update.name} differentiates gradients, which those of a compiled network do not allow: leave "
            "--torch_compile out."
        )
    if distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise ValueError(
            f"{update.name} needs every process to hold all weights, which {distributed_type.value} divides: "
            "train with plain data parallelism (torchrun), or without an update."
        )
    if update.by_environment and not objective.linear:
        raise ValueError(
            f"{update.name} takes the gradient of each environment's risk, and {objective.name} is no mean "
            f"over environments: combine {update.name} with erm, or {objective.name} with sam."
        )
    if update.by_environment and mixing is not None:
        raise ValueError(
            f"{update.name} takes one environment at a time, and {mixing.name} mixes them: use one of the "
            "two."
        )


def check_environments(dataset: EnvironmentDataset, method: Objective | Update) -> None:
    counts = dataset.environment_counts()
    if len(counts) < method.min_environments:
        raise ValueError(
            f"{method.name} compares environments: it needs at least {method.min_environments}, the "
            f"training set has {len(counts)} ({', '.join(counts)}). Train on more, or use erm or rsc."
        )


def check_data(
    dataset: EnvironmentDataset, objective: Objective, model: nn.Module, args: OODConfig, processes: int
) -> None:
    """Enough environments, labels in range, at least one batch, no environment smaller than its part of a
    batch."""
    check_environments(dataset, objective)
    counts = dataset.environment_counts()
    num_labels = getattr(getattr(model, "config", None), "num_labels", None)
    if dataset.labels.is_floating_point():
        if objective.needs_classes:
            raise ValueError(
                f"{objective.name} compares samples of one class, and a regression has none: use another "
                "method."
            )
        if num_labels != 1:
            raise ValueError(f"Labels are floats, which needs num_labels=1; the model has {num_labels}.")
    elif num_labels is not None and int(dataset.labels.max()) >= num_labels:
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
    balanced = dataset.group_counts() if args.environment_proportions == "groups" else counts
    smallest = min(balanced, key=balanced.__getitem__)
    share = batch // len(balanced)
    if (
        args.environment_proportions != "natural"
        and not args.sample_with_replacement
        and balanced[smallest] < share
    ):
        kind = "Group" if args.environment_proportions == "groups" else "Environment"
        raise ValueError(
            f"{kind} {smallest!r} has {balanced[smallest]} samples, fewer than its {share} of a batch of "
            f"{batch}: lower per_device_train_batch_size, or set environment_proportions='natural' or "
            "sample_with_replacement=True, or leave it out."
        )
    if not dataset.labels.is_floating_point():
        for lack in lacking_classes(dataset):
            logger.warning(lack)


def lacking_classes(dataset: EnvironmentDataset) -> list[str]:
    """What a training set cannot teach: classes that it has no sample of, in all or in some environments."""
    names, places = dataset.label_names, dataset.environment_names
    counts = torch.bincount(dataset.groups, minlength=len(names) * len(places)).view(len(names), len(places))
    learned, present = counts.any(1), counts.any(0)
    said = []
    if not learned.all():
        absent = _first([name for name, known in zip(names, learned.tolist(), strict=True) if not known])
        said.append(f"No training sample belongs to {absent}: the model cannot learn it.")
    poor = (counts[learned] == 0).any(0) & present
    if poor.any():
        where = _first([name for name, lacks in zip(places, poor.tolist(), strict=True) if lacks])
        said.append(f"Not every class occurs in {where}: there the environment tells something of the label.")
    return said


def _first(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def num_classes(model: nn.Module, dataset: EnvironmentDataset) -> int:
    """How many classes the model tells apart; of a model without a configuration, as many as have names."""
    return getattr(getattr(model, "config", None), "num_labels", None) or len(dataset.label_names)


def check_mixing(mixing: Mixing, objective: Objective, dataset: EnvironmentDataset) -> None:
    """Mixtures of the inputs exist, the objective can take them, and there are environments to mix."""
    if "input_ids" in dataset.__getitems__([0]):
        raise ValueError(
            f"{mixing.name} takes weighted means of inputs, and there is nothing between two tokens "
            f"(input_ids): train without {mixing.name}, or on images."
        )
    if mixing.needs_classes and dataset.labels.is_floating_point():
        raise ValueError(
            f"{mixing.name} pairs samples by their classes, and a regression has none: use mixup, which "
            "mixes the targets."
        )
    if objective.needs_classes:
        raise ValueError(
            f"{objective.name} compares samples of one class, but {mixing.name} makes samples that belong to "
            "several in parts: use one of the two."
        )
    environments = list(dataset.environment_counts())
    if len(environments) < mixing.min_environments:
        raise ValueError(
            f"{mixing.name} mixes environments: it needs at least {mixing.min_environments}, the training "
            f"set has {len(environments)} ({', '.join(environments)}). Train on more, or without it."
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
