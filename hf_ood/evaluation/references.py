"""What is true of every row of a data set, in the terms of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import PreTrainedConfig

from ..data.align import align
from ..data.ids import ids_of
from ..data.targets import CLASSIFICATION, REGRESSION, in_order_of, read_targets
from .prediction import predicted_task


def model_task(config: PreTrainedConfig, asked: str | None = None) -> str:
    """What a model of this configuration predicts. Raises `ValueError` where that is not what was asked
    for."""
    task = predicted_task(config)
    if asked not in (None, task):
        raise ValueError(
            f"--task {asked}: the model is one of {task} (problem_type, num_labels); leave --task out."
        )
    return task


def references_of(
    dataset: Dataset, columns: Sequence[str], id2label: Mapping[int, str], task: str
) -> tuple[np.ndarray, str]:
    """What the label columns say, as the model has it: its class ids int64 [N], numbers float [N], or 0 and 1
    of its labels float [N, L]; and how they were matched (`data.align`).

    Raises `ValueError` for a label that is none of the model's, and as `read_targets` does.
    """
    if task == CLASSIFICATION and len(columns) == 1:
        return model_labels(dataset, columns[0], id2label)
    targets = read_targets(DatasetDict(all=dataset), columns, task)
    if task == REGRESSION:
        return targets.values, "by value"
    return in_order_of(targets, [id2label[number] for number in sorted(id2label)], "the model")


def model_labels(dataset: Dataset, column: str, id2label: Mapping[int, str]) -> tuple[np.ndarray, str]:
    """The true classes as the model's class ids, int64 [N], and how they were matched (`data.align`).

    Raises `ValueError` for a label that is no class of the model's.
    """
    ids, names = ids_of(dataset, column, "label")
    match = align(names, [id2label[number] for number in sorted(id2label)])
    return match.ids[ids], match.how
