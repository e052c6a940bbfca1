"""The samples that a stage trains on."""

from __future__ import annotations

from typing import Any

import torch

from ..data import AUGMENTATIONS, BatchAugmentation, EnvironmentDataset
from ..data.combinations import all_matching
from ..data.processors import takes_audio
from ..data.splits import IN_DOMAIN
from ..data.targets import CLASSIFICATION
from ..errors import unknown_name
from .data import keep_environments, validation_share
from .spec import DataSpec, RunSpec

EVERYTHING = "everything"


def training_datasets(
    spec: RunSpec, datasets: dict[str, EnvironmentDataset]
) -> dict[str, EnvironmentDataset]:
    """The training samples in a stage's part of them, the training environments reduced, the training samples
    reduced and augmented, as asked."""
    train, validation = datasets["train"], datasets["validation"]
    train = part_of(train, spec.data.train_on, spec.data.hold_out, spec.training.seed)
    if spec.data.train_environments:
        present = list(train.environment_counts())
        chosen = all_matching(spec.data.train_environments, present, spec.data.environment_column)
        train = keep_environments(train, chosen)
        if spec.data.validation is None or validation_share(spec.data) is not None:
            validation = keep_environments(validation, chosen)
    if spec.data.max_train_samples is not None:
        train = first_of_each_environment(train, spec.data.max_train_samples)
    if spec.data.train_on == EVERYTHING:
        train, validation = train.followed_by(validation), validation.select([])
    if spec.data.augmentation != "none":
        if spec.data.augmentation not in AUGMENTATIONS:
            raise ValueError(unknown_name("augmentation", spec.data.augmentation, ["none", *AUGMENTATIONS]))
        what = not_images(spec.data, datasets["train"].processor)
        if what:
            raise ValueError(f"--augmentation changes images, not {what}: leave it out.")
        train = train.with_transform(
            BatchAugmentation(AUGMENTATIONS[spec.data.augmentation](), spec.training.seed)
        )
    others = {split: data for split, data in datasets.items() if split != IN_DOMAIN}
    return {**others, "train": train, "validation": validation, **in_domain_test(datasets, train)}


def not_images(data: DataSpec, processor: Any) -> str | None:
    """What is classified, where it is no images."""
    if takes_audio(processor):
        return "sounds"
    return "texts" if data.text_column else "features" if data.feature_columns else None


def in_domain_test(
    datasets: dict[str, EnvironmentDataset], train: EnvironmentDataset
) -> dict[str, EnvironmentDataset]:
    """The rows of the split `in_domain_test` in environments that are trained on, if there are any."""
    if IN_DOMAIN not in datasets:
        return {}
    rows = datasets[IN_DOMAIN]
    kept = torch.isin(rows.environments, train.environments.unique()).nonzero().squeeze(1)
    return {IN_DOMAIN: rows.select(kept)} if len(kept) else {}


def part_of(dataset: EnvironmentDataset, part: str, share: float, seed: int) -> EnvironmentDataset:
    """`train`: the training images without the share that is held out; `held_out`: that share; `everything`:
    both.

    It is drawn from each group (class in an environment; an environment, where there are no classes) alike,
    and a function of the seed and of the whole training split: stages that see other environments or fewer
    images have no image of another's part.
    """
    if part not in ("train", "held_out", EVERYTHING):
        raise ValueError(unknown_name("part to train on", part, ["train", "held_out", EVERYTHING]))
    if not 0 <= share < 1:
        raise ValueError(f"hold_out must lie in 0..1, not {share}.")
    if share == 0 and part == "held_out":
        raise ValueError("--train_on held_out: no images are held out; set --hold_out, such as 0.2.")
    if share == 0 or part == EVERYTHING:
        return dataset
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
    held_out = torch.zeros(len(dataset), dtype=torch.bool)
    groups = dataset.groups if dataset.task == CLASSIFICATION else dataset.environments
    for group in groups.unique():
        rows = order[groups[order] == group]
        held_out[rows[: round(share * len(rows))]] = True
    chosen = held_out if part == "held_out" else ~held_out
    return dataset.select(chosen.nonzero().squeeze(1))


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
