"""The data that a run asks for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import DatasetDict
from transformers import CONFIG_MAPPING
from transformers.utils import logging

from ..data import (
    Columns,
    EnvironmentDataset,
    Protocol,
    environment_datasets,
    load_processor,
    read_dataset,
)
from ..data.built_in import BUILT_IN, read_built_in
from ..data.features import FEATURES_FILE, FeatureProcessor
from ..data.folders import ENVIRONMENT, LABEL
from ..data.images import Process
from ..data.processors import classifies_sounds
from ..data.reading import Named, Reading, column_of
from ..data.splits import IN_DOMAIN
from ..data.targets import CLASSIFICATION
from ..errors import unknown_name
from ..moved import moved_names
from .network import VECTOR_MODELS, backbone, load_config, own_processor
from .spec import DataSpec, RunSpec

logger = logging.get_logger(__name__)
IN_MEMORY = {"auto": None, "always": True, "never": False}

DATA_FLAGS = (
    "text_column",
    "image_column",
    "task",
    "feature_columns",
    "impute",
    "audio_column",
    "max_seconds",
    "label_column",
    "environment_column",
    "test_environments",
    "validation",
    "max_length",
    "ignore_splits",
    "skip_bad_rows",
)


def load_splits(
    spec: RunSpec, configuration: str | None = None, processor: Any = None
) -> dict[str, EnvironmentDataset]:
    """`train`, `validation` and `test` for the network of the run, and `in_domain_test` where there are such
    rows; of another configuration, if one is given, with the run's `processor`: features are made into
    vectors as the run's own training rows say."""
    configuration = configuration or spec.data.configuration
    check_inputs(spec)
    processor = processor or input_processor(spec)
    name, held_out = spec.data.dataset, spec.data.test_environments
    built_in = BUILT_IN.get(name)
    if built_in and built_in.tensors:
        datasets = built_in.tensors(str(configuration), **spec.options.get(name, {}))
        if spec.data.validation is not None:
            raise ValueError(f"{name} has its own validation split: leave --validation out.")
        if spec.data.task != CLASSIFICATION:
            raise ValueError(f"{name} has its own labels: leave --task {spec.data.task} out.")
        if held_out:
            others = set(datasets["test"].environment_counts()) - set(held_out)
            tested = tested_environments(datasets, held_out)
            if others and not built_in.shifted_test:
                datasets[IN_DOMAIN] = keep_environments(datasets["test"], sorted(others))
            datasets["test"] = tested
        if processor is None:
            return datasets
        finish = Process(processor, shaped=False)
        return {split: data.with_finish(finish, processor) for split, data in datasets.items()}
    return environment_datasets(
        read(spec.data, configuration),
        columns_of(spec.data),
        protocol(spec),
        processor,
        IN_MEMORY[spec.data.in_memory],
        spec.data.max_length,
        spec.data.skip_bad_rows,
        spec.data.impute,
        spec.data.max_seconds,
        tell=print if PartialState().is_main_process and not spec.quiet else logger.info,
    )


def check_inputs(spec: RunSpec) -> None:
    """Raise `ValueError` for features and sounds with what they do not go with, before anything is read."""
    data = spec.data
    for flag in ("feature_columns", "audio_column", "max_seconds"):
        has_inputs = data.dataset in BUILT_IN and BUILT_IN[data.dataset].tensors is not None
        if has_inputs and getattr(data, flag) is not None:
            raise ValueError(f"{data.dataset} has inputs of its own: leave --{flag} out.")
    if data.feature_columns is None:
        if data.impute:
            raise ValueError("--impute fills features in: name --feature_columns, or leave it out.")
        return
    if backbone(spec.network) is not None or spec.network.model not in VECTOR_MODELS:
        raise ValueError(
            f"Features in columns are vectors, which --model {' and '.join(VECTOR_MODELS)} take, not "
            f"{backbone(spec.network) or spec.network.model}."
        )


def read(data: DataSpec, configuration: str | None = None) -> DatasetDict:
    """The dataset that is asked for, as its splits."""
    built_in = read_built_in(data.dataset, configuration or data.configuration)
    if built_in is not None:
        return built_in
    held_out = [
        name
        for asked in (data.train_environments, data.test_environments, data.validation)
        for name in asked or []
        if validation_share(data) is None or asked is not data.validation
    ]
    return read_dataset(
        data.dataset,
        configuration or data.configuration,
        Reading(**{name: getattr(data, name) for name in vars(Reading())}),
        Named(data.environment_column[0], data.label_column[0], held_out),
    )


def columns_of(data: DataSpec) -> Columns:
    """What the dataset's columns hold; what folders and files tell has columns of its own."""
    return Columns(
        [column_of(column, LABEL) for column in data.label_column],
        [column_of(column, ENVIRONMENT) for column in data.environment_column],
        data.image_column,
        data.text_column,
        data.feature_columns,
        data.audio_column,
        data.task,
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
    kept = [keep_environments(part, some) for part, some in zip(parts, chosen, strict=True) if some]
    return reduce(EnvironmentDataset.followed_by, kept)


def input_processor(spec: RunSpec) -> Any:
    """The tokenizer or image processor that the run's network was trained with, or the one that was named.

    None: images go in as they are, as most of this package's networks and networks from scratch take them.
    """
    name = spec.network.processor_name or backbone(spec.network)
    if name is None and spec.data.feature_columns:
        return starting_processor(spec)
    if name is None:
        return own_processor(spec)
    if spec.network.from_scratch and not (
        spec.network.processor_name
        or spec.data.text_column
        or classifies_sounds(load_config(spec.network, name, {}))
    ):
        return None
    if (
        name == spec.network.config_name
        and name in CONFIG_MAPPING
        and not spec.network.processor_name
        and not Path(name).is_dir()
    ):
        raise ValueError(
            f"--config_name {name} names a kind of network, which has no tokenizer or feature extractor: add "
            "--processor_name with the Hub id or folder of one."
        )
    return load_processor(
        name, revision=spec.network.revision, trust_remote_code=spec.network.trust_remote_code
    )


def starting_processor(spec: RunSpec) -> FeatureProcessor | None:
    """What made the vectors of the weights that the run, or a stage, starts from: they go together. None
    where it starts from none.

    Raises `ValueError` for starting weights of several ways, `FileNotFoundError` for some without one.
    """
    starts = {each.network.start_from for each in (spec, *spec.stages.values())}
    starts -= {"scratch", "previous", *spec.stages}
    found = {start: FeatureProcessor.from_pretrained(start) for start in sorted(starts)}
    first, *others = found.values() or [None]
    if any(other != first for other in others):
        raise ValueError(
            f"The checkpoints {', '.join(found)} were trained on vectors that were made in different ways "
            f"({FEATURES_FILE}): start from one of them."
        )
    return first


def protocol(spec: RunSpec) -> Protocol:
    """How the rows of the run's dataset are divided; the random share depends on the run's seed for data."""
    data, training = spec.data, spec.training
    return Protocol(
        data.train_environments,
        data.test_environments,
        validation_share(data) or data.validation,
        training.seed if training.data_seed is None else training.data_seed,
    )


def validation_share(data: DataSpec) -> float | None:
    """`--validation 0.2` as a number; None where it names environments or says nothing."""
    if data.validation is None or len(data.validation) > 1:
        return None
    try:
        share = float(data.validation[0])
    except ValueError:
        return None
    return share if 0 < share < 1 else None


def describe_data(spec: RunSpec) -> dict[str, Any]:
    """What `results.json` says about the data: all that was asked for, so that runs on others differ."""
    usual = DataSpec()
    asked = {
        name: getattr(spec.data, name)
        for name in DATA_FLAGS
        if getattr(spec.data, name) != getattr(usual, name)
    }
    return {
        **spec.options.get(spec.data.dataset, {}),
        "augmentation": spec.data.augmentation,
        **{name: " ".join(value) if isinstance(value, list) else value for name, value in asked.items()},
    }


def keep_environments(dataset: EnvironmentDataset, names: Sequence[str]) -> EnvironmentDataset:
    present = list(dataset.environment_counts())
    for name in names:
        if name not in present:
            raise ValueError(unknown_name("environment", name, present))
    ids = torch.tensor([dataset.environment_names.index(name) for name in names])
    return dataset.select(torch.isin(dataset.environments, ids).nonzero().squeeze(1))


__getattr__ = moved_names(__name__)
