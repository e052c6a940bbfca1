"""The data that the arguments of a run ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING

from ..data import (
    AUGMENTATIONS,
    BatchAugmentation,
    Columns,
    EnvironmentDataset,
    Protocol,
    colored_mnist_tensors,
    environment_datasets,
    linear_unit_test_tensors,
    load_processor,
    read_dataset,
)
from ..data.combinations import all_matching
from ..data.configurations import unknown_name
from ..data.images import Process
from ..data.splits import IN_DOMAIN
from .arguments import Arguments
from .models import backbone
from .run_arguments import RunArguments

IN_MEMORY = {"auto": None, "always": True, "never": False}

BUILT_IN: dict[str, Callable[..., dict[str, EnvironmentDataset]]] = {
    "colored_mnist": colored_mnist_tensors,
    "linear_unit_tests": linear_unit_test_tensors,
}

SHIFTED_TEST = ("linear_unit_tests",)  # their test split shifts every environment: no row is in-domain

DATA_FLAGS = (
    "text_column",
    "image_column",
    "label_column",
    "environment_column",
    "test_environments",
    "validation",
    "max_length",
)


def load_splits(arguments: Arguments, configuration: str | None) -> dict[str, EnvironmentDataset]:
    """`train`, `validation` and `test` of one configuration, for the network of the run, and `in_domain_test`
    where there are such rows."""
    run, processor = arguments.run, input_processor(arguments)
    if run.dataset_name in BUILT_IN:
        options = arguments.options.get(run.dataset_name, {})
        datasets = BUILT_IN[run.dataset_name](str(configuration), **options)
        if run.validation is not None:
            raise ValueError(f"{run.dataset_name} has its own validation split: leave --validation out.")
        if run.test_environments:
            others = set(datasets["test"].environment_counts()) - set(run.test_environments)
            tested = tested_environments(datasets, run.test_environments)
            if others and run.dataset_name not in SHIFTED_TEST:
                datasets[IN_DOMAIN] = keep_environments(datasets["test"], sorted(others))
            datasets["test"] = tested
        if processor is None:
            return datasets
        finish = Process(processor, shaped=False)
        return {split: data.with_finish(finish, processor) for split, data in datasets.items()}
    return environment_datasets(
        read_dataset(run.dataset_name, configuration),
        Columns(run.label_column, run.environment_column, run.image_column, run.text_column),
        protocol(arguments),
        processor,
        IN_MEMORY[run.in_memory],
        run.max_length,
    )


def tested_environments(datasets: dict[str, EnvironmentDataset], names: Sequence[str]) -> EnvironmentDataset:
    """Test images of the environments; of those that only train, their validation images."""
    parts = [datasets["test"], datasets["validation"]]
    known = [set(part.environment_counts()) for part in parts]
    for name in names:
        if not any(name in those for those in known):
            raise ValueError(unknown_name("environment", name, sorted(known[0] | known[1])))
    own = [name for name in names if name in known[0]]
    chosen = [own, [name for name in names if name not in own]]
    return concatenate(
        [keep_environments(part, some) for part, some in zip(parts, chosen, strict=True) if some]
    )


def concatenate(datasets: Sequence[EnvironmentDataset]) -> EnvironmentDataset:
    first, *others = datasets
    if not others:
        return first
    columns = {name: torch.cat([part.columns[name] for part in datasets]) for name in first.columns}
    whole = copy(first)
    whole.columns = columns
    return whole


def input_processor(arguments: Arguments) -> Any:
    """The tokenizer or image processor that the run's network was trained with, or the one that was named.

    None: images go in as they are, as this package's networks and networks from scratch take them.
    """
    run = arguments.run
    name = run.processor_name or backbone(run)
    if name is None or (run.from_scratch and not run.processor_name and not run.text_column):
        return None
    if (
        name == run.config_name
        and name in CONFIG_MAPPING
        and not run.processor_name
        and not Path(name).is_dir()
    ):
        raise ValueError(
            f"--config_name {name} names a kind of network, which has no tokenizer: add --processor_name "
            "with the Hub id or folder of one."
        )
    return load_processor(name, revision=run.model_revision, trust_remote_code=run.trust_remote_code)


def protocol(arguments: Arguments) -> Protocol:
    """How the rows of the run's dataset are divided; the random share depends on the run's seed for data."""
    run, training = arguments.run, arguments.training
    return Protocol(
        run.train_environments,
        run.test_environments,
        validation_share(run) or run.validation,
        training.seed if training.data_seed is None else training.data_seed,
    )


def validation_share(run: RunArguments) -> float | None:
    """`--validation 0.2` as a number; None where it names environments or says nothing."""
    if run.validation is None or len(run.validation) > 1:
        return None
    try:
        share = float(run.validation[0])
    except ValueError:
        return None
    return share if 0 < share < 1 else None


def describe_data(arguments: Arguments) -> dict[str, Any]:
    """What `results.json` says about the data: all that was asked for, so that runs on others differ."""
    given = arguments.given["run"]
    asked = {name: given[name] for name in DATA_FLAGS if given.get(name) is not None}
    return {
        **arguments.options.get(arguments.run.dataset_name, {}),
        "augmentation": arguments.run.augmentation,
        **{name: " ".join(value) if isinstance(value, list) else value for name, value in asked.items()},
    }


def training_datasets(
    arguments: Arguments, datasets: dict[str, EnvironmentDataset]
) -> dict[str, EnvironmentDataset]:
    """The training samples in a stage's part of them, the training environments reduced, the training samples
    reduced and augmented, as asked."""
    run = arguments.run
    train, validation = datasets["train"], datasets["validation"]
    train = part_of(train, run.train_on, run.hold_out, arguments.training.seed)
    if run.train_environments:
        present = list(train.environment_counts())
        chosen = all_matching(run.train_environments, present, run.environment_column)
        train = keep_environments(train, chosen)
        if run.validation is None or validation_share(run) is not None:
            validation = keep_environments(validation, chosen)
    if run.max_train_samples is not None:
        train = first_of_each_environment(train, run.max_train_samples)
    if run.augmentation != "none":
        if run.augmentation not in AUGMENTATIONS:
            raise ValueError(unknown_name("augmentation", run.augmentation, ["none", *AUGMENTATIONS]))
        if run.text_column:
            raise ValueError("--augmentation changes images, not texts: leave it out.")
        train = train.with_transform(
            BatchAugmentation(AUGMENTATIONS[run.augmentation](), arguments.training.seed)
        )
    others = {split: data for split, data in datasets.items() if split != IN_DOMAIN}
    return {**others, "train": train, "validation": validation, **in_domain_test(datasets, train)}


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
            raise ValueError(unknown_name("environment", name, present))
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
