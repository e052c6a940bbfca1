"""The data that the arguments of a run ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from datasets import load_dataset

from ..data import (
    AUGMENTATIONS,
    BatchAugmentation,
    EnvironmentDataset,
    as_environment_dataset,
    colored_mnist_tensors,
    linear_unit_test_tensors,
)
from ..data.configurations import unknown_name
from .arguments import Arguments

BUILT_IN: dict[str, Callable[..., dict[str, EnvironmentDataset]]] = {
    "colored_mnist": colored_mnist_tensors,
    "linear_unit_tests": linear_unit_test_tensors,
}


def load_splits(arguments: Arguments, configuration: str) -> dict[str, EnvironmentDataset]:
    """The three splits of one configuration as they are."""
    name = arguments.run.dataset_name
    if name in BUILT_IN:
        return BUILT_IN[name](configuration, **arguments.options.get(name, {}))
    loaded = load_dataset(name, configuration)
    missing = {"train", "validation", "test"} - set(loaded)
    if missing:
        raise ValueError(f"{name} lacks the split(s) {', '.join(sorted(missing))}.")
    return {split: as_environment_dataset(loaded[split]) for split in ("train", "validation", "test")}


def training_datasets(
    arguments: Arguments, datasets: dict[str, EnvironmentDataset]
) -> dict[str, EnvironmentDataset]:
    """The training images in a stage's part of them, the training environments reduced, the training images
    reduced and augmented, as asked."""
    run = arguments.run
    train, validation = datasets["train"], datasets["validation"]
    train = part_of(train, run.train_on, run.hold_out, arguments.training.seed)
    if run.train_environments:
        train, validation = (keep_environments(part, run.train_environments) for part in (train, validation))
    if run.max_train_samples is not None:
        train = first_of_each_environment(train, run.max_train_samples)
    if run.augmentation != "none":
        if run.augmentation not in AUGMENTATIONS:
            raise ValueError(unknown_name("augmentation", run.augmentation, ["none", *AUGMENTATIONS]))
        train = train.with_transform(
            BatchAugmentation(AUGMENTATIONS[run.augmentation](), arguments.training.seed)
        )
    return {**datasets, "train": train, "validation": validation}


def part_of(dataset: EnvironmentDataset, part: str, share: float, seed: int) -> EnvironmentDataset:
    """`train`: the training images without the share that is held out; `held_out`: that share.

    It is drawn from each group (class in an environment) alike, and a function of the seed and of the whole
    training split: stages that see other environments or fewer images have no image of another's part.
    """
    if part not in ("train", "held_out"):
        raise ValueError(unknown_name("part to train on", part, ["train", "held_out"]))
    if not 0 <= share < 1:
        raise ValueError(f"hold_out must lie in 0..1, not {share}.")
    if share == 0:
        if part == "held_out":
            raise ValueError("--train_on held_out: no images are held out; set --hold_out, such as 0.2.")
        return dataset
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
    held_out = torch.zeros(len(dataset), dtype=torch.bool)
    for group in dataset.groups.unique():
        rows = order[dataset.groups[order] == group]
        held_out[rows[: round(share * len(rows))]] = True
    chosen = held_out if part == "held_out" else ~held_out
    return dataset.select(chosen.nonzero().squeeze(1))


def keep_environments(dataset: EnvironmentDataset, names: Sequence[str]) -> EnvironmentDataset:
    present = list(dataset.environment_counts())
    for name in names:
        if name not in present:
            raise ValueError(unknown_name("training environment", name, present))
    ids = torch.tensor([dataset.environment_names.index(name) for name in names])
    return dataset.select(torch.isin(dataset.environments, ids).nonzero().squeeze(1))


def first_of_each_environment(dataset: EnvironmentDataset, total: int) -> EnvironmentDataset:
    counts = dataset.environment_counts()
    share = total // len(counts)
    for name, count in counts.items():
        if count < share:
            raise ValueError(
                f"max_train_samples={total} asks for {share} of environment {name!r}, which has {count}."
            )
    rows = [
        (dataset.environments == dataset.environment_names.index(name)).nonzero().squeeze(1)[:share]
        for name in counts
    ]
    return dataset.select(torch.cat(rows))
