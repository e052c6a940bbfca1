"""Data that a method, or the network, cannot be trained or measured on are refused before training starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments
from transformers.utils import logging

from ..data import EnvironmentDataset
from ..data.align import placeholders, spelling
from ..data.targets import CLASSIFICATION, MULTI_LABEL, PROBLEM_TYPES, REGRESSION
from ..methods.masking import FeatureTransform
from ..methods.mixing import Mixing
from ..methods.objectives import Objective
from ..methods.objectives.functional import environment_sums
from ..methods.updates import Update
from ..models.classes import class_names
from .environment_options import BALANCES_CLASSES, EnvironmentOptions

logger = logging.get_logger(__name__)
PLURALS = {"Group": "groups", "Class": "classes", "Environment": "environments"}
OFTEN = 20  # draws of one sample in an epoch that are worth a warning


def check_environments(dataset: EnvironmentDataset, method: Objective | Update) -> None:
    counts = dataset.environment_counts()
    if len(counts) < method.min_environments:
        raise ValueError(
            f"{method.name} compares environments: it needs at least {method.min_environments}, the "
            f"training set has {len(counts)} ({', '.join(counts)}). Train on more, or use erm or rsc."
        )


def check_batches(
    dataset: EnvironmentDataset,
    args: TrainingArguments,
    options: EnvironmentOptions,
    batch: int,
    processes: int,
) -> None:
    """There is at least one batch, and no environment is smaller than its part of one. What trains less than
    it says is a warning."""
    fills_up = processes > 1  # Accelerate draws the first samples again where the last batch is too small
    if len(dataset) < batch * processes and (args.dataloader_drop_last or fills_up):
        raise ValueError(
            f"{len(dataset)} training samples do not fill one batch of {batch} on each of {processes} "
            "process(es): lower per_device_train_batch_size."
        )
    proportions = options.environment_proportions
    if proportions in BALANCES_CLASSES and dataset.has_labels and dataset.task != CLASSIFICATION:
        raise ValueError(
            f"environment_proportions={proportions!r} balances the classes, and a {said(dataset.task)} has "
            "none: use 'equal' or 'natural'."
        )
    kind, counts = _parts(dataset, proportions)
    smallest = min(counts, key=counts.__getitem__)
    share = -(-batch // len(counts))  # at most
    if proportions == "natural":
        return
    if not options.sample_with_replacement and counts[smallest] < share:
        raise ValueError(
            f"{kind} {smallest!r} has {counts[smallest]} samples, fewer than its {share} of a batch of "
            f"{batch}: lower per_device_train_batch_size, or set environment_proportions='natural' or "
            "sample_with_replacement=True, or leave it out."
        )
    step = args.gradient_accumulation_steps * processes
    places = -(-batch * step // len(counts))
    if not options.sample_with_replacement and counts[smallest] < places:
        logger.warning(
            f"{kind} {smallest!r} has {counts[smallest]} samples and fills {places} places of each "
            f"step of {batch * step}: its samples count several times in one step."
        )
    draws = len(dataset) / len(counts) / counts[smallest]
    if draws > OFTEN:
        logger.warning(
            f"{kind} {smallest!r} has {counts[smallest]} of {len(dataset)} samples and fills "
            f"1/{len(counts)} of every batch: each of them is drawn {draws:.0f} times in an epoch. Leave it "
            "out, or set environment_proportions='natural'."
        )
    if batch < len(counts):
        logger.warning(
            f"A batch of {batch} has no room for {len(counts)} {PLURALS[kind]}: each step sees "
            f"{batch * step} samples of some of them. Raise per_device_train_batch_size to {len(counts)} or "
            "more."
        )


def _parts(dataset: EnvironmentDataset, proportions: str) -> tuple[str, dict[str, int]]:
    """What batches hold in equal parts: of what kind they are, and the number of rows of each, by name."""
    match proportions:
        case "groups":
            return "Group", dataset.group_counts()
        case "classes":
            return "Class", dataset.class_counts()
    return "Environment", dataset.environment_counts()


def check_labels(
    dataset: EnvironmentDataset,
    objective: Objective,
    transform: FeatureTransform | None,
    model: nn.Module,
) -> None:
    """Labels are there, of a kind that method and model take, and the model has an output for each."""
    if not dataset.has_labels:
        raise ValueError(
            "The training set has no labels: name their column 'label' or 'labels'. Texts are none before "
            "data.class_encode_column('label'), and several labels a row are lists of floats, 0.0 or 1.0 "
            "each."
        )
    task, config = dataset.task, getattr(model, "config", None)
    if task != CLASSIFICATION:
        _check_needs_no_classes(task, objective, transform)
    _check_problem_type(task, config)
    _check_outputs(dataset, getattr(config, "num_labels", None))
    if task != REGRESSION:
        check_class_order(dataset, config)
    lacks = {CLASSIFICATION: lacking_classes, MULTI_LABEL: lacking_labels}.get(task)
    for lack in lacks(dataset) if lacks else []:
        logger.warning(lack)


def _check_needs_no_classes(task: str, objective: Objective, transform: FeatureTransform | None) -> None:
    if objective.needs_classes:
        raise ValueError(
            f"{objective.name} compares samples of one class, and a {said(task)} has none: use another "
            "method."
        )
    if transform is not None and transform.needs_classes:
        raise ValueError(
            f"{transform.name} looks for the features that speak for a sample's class, and a {said(task)} "
            "has none: use another method."
        )


def said(task: str) -> str:
    """A task in a sentence."""
    return task.replace("_", "-") + (" classification" if task == MULTI_LABEL else "")


def _check_problem_type(task: str, config: Any) -> None:
    """Several labels a sample are learnt where the model knows of it: its own loss would be another one."""
    several, kind = PROBLEM_TYPES[MULTI_LABEL], getattr(config, "problem_type", None)
    if task == MULTI_LABEL and config is not None and kind != several:
        raise ValueError(
            f"The data have several labels a sample, and the model's problem_type is {kind!r}: load it with "
            f"problem_type={several!r} (from_pretrained takes it, and so does the configuration)."
        )
    if task != MULTI_LABEL and kind == several:
        raise ValueError(
            f"The model's problem_type is {several!r}, and the data have one label a sample: give labels "
            "[N, L] of 0 and 1 as floats, or load the model without it."
        )


def _check_outputs(dataset: EnvironmentDataset, outputs: int | None) -> None:
    """`outputs`: how many the model has; None: not known."""
    if outputs is None:
        return
    labels, task = dataset.labels, dataset.task
    if task == MULTI_LABEL and labels.shape[1] != outputs:
        raise ValueError(
            f"The data have {labels.shape[1]} labels a sample, the model {outputs} outputs: build it with "
            f"num_labels={labels.shape[1]}."
        )
    if task == REGRESSION and outputs != 1:
        raise ValueError(f"Labels are floats, which needs num_labels=1; the model has {outputs}.")
    if task == CLASSIFICATION and int(labels.max()) >= outputs:
        raise ValueError(
            f"Labels reach {int(labels.max())}, but the model has {outputs} classes: build it with "
            f"num_labels={len(dataset.label_names)}."
        )


def check_class_order(dataset: EnvironmentDataset, config: Any) -> None:
    """The model's classes and the training set's have one order, where both have names. Raises `ValueError`
    for the same names in another order; other names are a warning."""
    ours = dataset.label_names
    theirs = class_names(config) if getattr(config, "id2label", None) else []
    if not theirs or ours == theirs[: len(ours)] or placeholders(ours) or placeholders(theirs):
        return
    if sorted(map(spelling, ours)) == sorted(map(spelling, theirs)) and len({*map(spelling, ours)}) == len(
        ours
    ):
        if [*map(spelling, ours)] == [*map(spelling, theirs)]:
            return
        raise ValueError(
            f"The training set's classes are {ours}, the model's {theirs}: the same in another order, so "
            "that each would be taken for another. Give the column the model's order "
            "(data.cast_column('label', ClassLabel(names=list(model.config.id2label.values())))), or a "
            "model without trained classes its names (from_pretrained(..., id2label=..., label2id=...))."
        )
    logger.warning(
        f"The model names its classes {theirs}, the training set {ours}: output i is trained on class i of "
        "the training set, whatever it meant before. Build the model with id2label and label2id of the "
        "training set."
    )


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


def lacking_labels(dataset: EnvironmentDataset) -> list[str]:
    """What a training set of several labels a sample cannot teach: labels that none of its samples has, or
    all have, and environments where that is so of some label."""
    present = dataset.environments.unique()
    sums = environment_sums(dataset.labels, dataset.environments, len(dataset.environment_names))[present]
    counts = torch.bincount(dataset.environments)[present]
    constant = (sums == 0) | (sums == counts[:, None])  # [environments, L]
    whole = (sums.sum(0) == 0) | (sums.sum(0) == counts.sum())
    names = dataset.label_names or [str(number) for number in range(len(whole))]
    told = []
    if whole.any():
        absent = _first([name for name, is_so in zip(names, whole.tolist(), strict=True) if is_so])
        told.append(f"Every or no training sample has the label {absent}: the model cannot learn it.")
    poor = constant[:, ~whole].any(1)
    if poor.any():
        where = _first([dataset.environment_names[place] for place in present[poor].tolist()])
        told.append(f"Some label is the same for all samples of {where}: there the environment tells it.")
    return told


def _first(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def num_classes(model: nn.Module, dataset: EnvironmentDataset) -> int:
    """How many classes the model tells apart; of a model without a configuration, as many as have names."""
    return getattr(getattr(model, "config", None), "num_labels", None) or len(dataset.label_names)


def check_mixing(mixing: Mixing, objective: Objective, dataset: EnvironmentDataset) -> None:
    """Mixtures of the inputs exist, the objective can take them, and there are environments to mix."""
    first = dataset.__getitems__([0])
    if "input_ids" in (first[0] if isinstance(first, list) else first):
        raise ValueError(
            f"{mixing.name} takes weighted means of inputs, and there is nothing between two tokens "
            f"(input_ids): train without {mixing.name}, or on images."
        )
    if mixing.needs_classes and dataset.has_labels and dataset.task != CLASSIFICATION:
        raise ValueError(
            f"{mixing.name} pairs samples by their classes, and a {said(dataset.task)} has none: use mixup, "
            "which mixes the targets."
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
