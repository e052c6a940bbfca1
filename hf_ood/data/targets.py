"""What is to be predicted of a row: a class, several labels, or a number; from columns to arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict
from torch import Tensor

from ..errors import unknown_name
from .align import align, listed
from .ids import MISSING_WORDS, numbered
from .origins import shown, where

CLASSIFICATION, MULTI_LABEL, REGRESSION = TASKS = ("classification", "multi_label", "regression")
# What configurations of transformers call them.
PROBLEM_TYPES = {
    CLASSIFICATION: "single_label_classification",
    MULTI_LABEL: "multi_label_classification",
    REGRESSION: "regression",
}
LEAVE_OUT = "Leave such rows out (dataset.filter), or give them one."
LARGEST = float(np.finfo(np.float32).max)
TRUTH = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}
Cell = tuple[str, int, Any]  # split, row, value


@dataclass(frozen=True)
class Targets:
    """The targets of all splits, one after the other, and what they are called.

    `values`: class ids, int64 [N]; numbers, float32 [N]; or 0 and 1 of L labels, float32 [N, L]. `names`: of
    the classes, of the one number (its column), or of the labels. `listed`: rows list the labels that they
    have, by name, so a label that no row names is absent from all of them.
    """

    values: np.ndarray
    names: list[str]
    listed: bool = False


def task_of(labels: Tensor) -> str:
    """Which of `TASKS` the labels of a data set are: int64 [N], float [N, L] or float [N]."""
    if labels.dim() == 2:
        return MULTI_LABEL
    return REGRESSION if labels.is_floating_point() else CLASSIFICATION


def read_targets(dataset: DatasetDict, columns: Sequence[str], task: str = CLASSIFICATION) -> Targets:
    """The label columns of a data set as targets.

    `task`: `classification` takes one column of names or ids; `regression` one of numbers; `multi_label`
    several of 0 and 1 (their names are the labels'), or one of lists: of names, of a ClassLabel's ids, or of
    0 and 1, as many in every row. Raises `ValueError` for an unknown task or column and for a cell that is
    none of this, naming split, row, column and value.
    """
    if task not in TASKS:
        raise ValueError(unknown_name("task", task, list(TASKS)))
    for data in dataset.values():
        for column in columns:
            if column not in data.column_names:
                raise ValueError(unknown_name("label column", column, data.column_names))
    if task == MULTI_LABEL:
        return _several_labels(dataset, columns)
    if len(columns) != 1:
        raise ValueError(
            f"There are {len(columns)} label columns ({', '.join(columns)}), and a {task} has one: name it, "
            f"or predict all of them (task {MULTI_LABEL})."
        )
    if task == REGRESSION:
        return Targets(_column(dataset, columns[0], _number), list(columns))
    if _holds_lists(dataset, columns[0]):
        raise ValueError(
            f"Column {columns[0]!r} holds lists, and a class is told by a name or a number, one a row: name "
            f"another column, or predict several labels a sample (task {MULTI_LABEL})."
        )
    ids, names = numbered(dataset, columns, "label")
    return Targets(np.concatenate(list(ids.values())), names)


def _several_labels(dataset: DatasetDict, columns: Sequence[str]) -> Targets:
    if len(columns) > 1:
        flags = [_column(dataset, column, _flag) for column in columns]
        return Targets(np.stack(flags, axis=1), list(columns))
    if not _holds_lists(dataset, columns[0]):
        raise ValueError(
            f"Column {columns[0]!r} holds one label a row: name several columns of 0 and 1, or one of lists. "
            f"One column of two values is a {CLASSIFICATION}: leave the task out."
        )
    return _lists(dataset, columns[0])


# Columns of one value a row


def _column(dataset: DatasetDict, column: str, read: Any) -> np.ndarray:
    """A column's cells, each by `read`, which raises `ValueError` with what is wrong -> float32 [N]."""
    found = []
    for split, row, value in _cells(dataset, column):
        try:
            if _is_missing(value):
                raise ValueError(f"which is no label. {LEAVE_OUT}")
            found.append(read(value))
        except ValueError as error:
            raise ValueError(_told(dataset[split], split, row, column, value, str(error))) from None
    return np.array(found, dtype=np.float32)


def _cells(dataset: DatasetDict, column: str) -> Iterator[Cell]:
    """The values of a column, a ClassLabel's by their names."""
    for split, data in dataset.items():
        feature = data.features[column]
        for row, value in enumerate(data.with_format(None)[column][:]):
            if isinstance(feature, ClassLabel) and value is not None:
                value = feature.int2str(value) if value >= 0 else None
            yield str(split), row, value


def _number(value: Any) -> float:
    way = "Correct it, leave the row out, or name a column of numbers; classes are the task classification."
    try:
        if isinstance(value, bool) or "_" in str(value):  # Python reads 1_000
            raise ValueError
        number = float(value)
    except (ValueError, TypeError):
        raise ValueError(f"which is no number. {way}") from None
    if not abs(number) <= LARGEST:  # nor is NaN
        raise ValueError(f"which is no finite number of 32 bits. {way}")
    return number


def _flag(value: Any) -> float:
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return float(value)
    found = TRUTH.get(str(value).strip().lower())
    if found is None:
        raise ValueError(
            "which is neither 0 nor 1 (false nor true). Of several label columns each tells whether a row "
            "has that label; for one column of classes name it alone (task classification)."
        )
    return found


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip() == "" or value in MISSING_WORDS
    return value is None or value != value  # NaN differs from itself


def _told(data: Dataset, split: str, row: int, column: str, value: Any, what: str) -> str:
    return f"Column {column!r} holds {shown(value)} ({where(data, row, split)}), {what}"


# A column of lists


def _holds_lists(dataset: DatasetDict, column: str) -> bool:
    return any(getattr(data.features[column], "feature", None) is not None for data in dataset.values())


def _lists(dataset: DatasetDict, column: str) -> Targets:
    rows = list(_listed(dataset, column))
    kinds = {isinstance(value, str) for _, _, values in rows for value in values}
    if kinds == {True}:
        return _of_names(dataset, column, rows)
    if kinds == {False}:
        return _of_flags(dataset, column, rows)
    raise ValueError(
        f"The lists of column {column!r} hold names and numbers: write one of them."
        if kinds
        else f"The lists of column {column!r} are all empty: there is no label to learn."
    )


def _listed(dataset: DatasetDict, column: str) -> Iterator[tuple[str, int, list[Any]]]:
    """The rows' lists, a ClassLabel's ids by their names."""
    for split, data in dataset.items():
        inner = getattr(data.features[column], "feature", None)
        for row, values in enumerate(data.with_format(None)[column][:]):
            names = inner.names if isinstance(inner, ClassLabel) else None
            if not isinstance(values, list) or any(_is_missing(v) or _has_no_name(v, names) for v in values):
                way = (
                    "which is no list of labels. Leave the row out, or write an empty list for none of them."
                )
                raise ValueError(_told(data, str(split), row, column, values, way))
            yield str(split), row, values if names is None else [names[value] for value in values]


def _has_no_name(value: Any, names: Sequence[str] | None) -> bool:
    return names is not None and not 0 <= value < len(names)


def _of_names(dataset: DatasetDict, column: str, rows: Sequence[tuple[str, int, list[str]]]) -> Targets:
    """0 and 1 of every name: those of a ClassLabel in its order, or those that occur."""
    inner = [getattr(data.features[column], "feature", None) for data in dataset.values()]
    known = [name for feature in inner if isinstance(feature, ClassLabel) for name in feature.names]
    occurring = sorted({name for _, _, values in rows for name in values})
    names = list(dict.fromkeys([*known, *occurring]))
    position = {name: number for number, name in enumerate(names)}
    found = np.zeros((len(rows), len(names)), np.float32)
    for number, (_, _, values) in enumerate(rows):
        found[number, [position[name] for name in values]] = 1
    return Targets(found, names, listed=True)


def _of_flags(dataset: DatasetDict, column: str, rows: Sequence[tuple[str, int, list[Any]]]) -> Targets:
    """Lists of 0 and 1 as they are; the labels are called by their positions."""
    width = len(rows[0][2])
    for split, row, values in rows:
        if len(values) != width or any(value not in (0, 1) for value in values):
            what = (
                f"which is no list of {width} numbers, 0 or 1, as the first row's. Lists of ids need their "
                "names (datasets.List(ClassLabel(names=[...]))), or write the names themselves."
            )
            raise ValueError(_told(dataset[split], split, row, column, values, what))
    return Targets(np.array([values for _, _, values in rows], np.float32), [str(n) for n in range(width)])


def in_order_of(targets: Targets, names: Sequence[str], whose: str) -> tuple[np.ndarray, str]:
    """Labels float32 [N, L] in the order of `names`, and how they were matched (`align`).

    `whose` labels `names` are, for errors. Raises `ValueError` as `align` does, and for one of the names that
    has no column.
    """
    match = align(targets.names, names, "labels", theirs=whose)
    lacking = [name for number, name in enumerate(names) if number not in match.ids]
    if lacking and not targets.listed:
        raise ValueError(
            f"The dataset has the labels {listed(targets.names)}, {whose} {listed(lacking)} too: name the "
            "columns of all of them as label columns."
        )
    found = np.zeros((len(targets.values), len(names)), np.float32)
    found[:, match.ids] = targets.values
    return found, match.how
