"""A column's values as ids and the names that they stand for, alike in all splits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, List, Value
from transformers.utils import logging

from ..errors import unknown_name
from .align import align, in_order, listed, placeholders, refuse_similar, spelling
from .origins import origins_of, rows_told, shown

logger = logging.get_logger(__name__)
# What tables write where there is nothing; also a name: Namibia, North America.
MISSING_WORDS = ("NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "#N/A", "<NA>")


@dataclass(frozen=True)
class Coded:
    """A column of one split: `ids` int64 [N], `names` [C], and whether a `ClassLabel` or numbers gave
    them."""

    ids: np.ndarray
    names: list[str]
    is_class_label: bool = False
    is_numbers: bool = False


def numbered(
    dataset: DatasetDict, columns: Sequence[str], what: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The ids of a column, or of the combinations of several that occur, int64 by split, and the names they
    stand for, `hospital=1,camera=b` for several.

    One list of names for all splits, matched by name (`common_names`): a `ClassLabel`'s, otherwise the values
    that occur, digits in numerical order before names in the alphabet's. `what`: what the column tells
    (label, environment), for errors. Raises `ValueError` for a column that is missing, a cell that is empty
    or no name or number, and names that differ only in case or spaces.
    """
    whole = [_numbered_column(dataset, column, what) for column in columns]
    if len(whole) == 1:
        return whole[0]
    names_of = [names for _, names in whole]
    tuples = {split: list(zip(*(ids[split].tolist() for ids, _ in whole), strict=True)) for split in dataset}
    kinds = sorted({one for found in tuples.values() for one in found})
    position = {one: number for number, one in enumerate(kinds)}
    names = [
        ",".join(f"{column}={own[at]}" for column, own, at in zip(columns, names_of, one, strict=True))
        for one in kinds
    ]
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"Two combinations of {', '.join(columns)} are both called {twice!r}: rename one value."
        )
    return {
        split: np.array([position[one] for one in found], np.int64) for split, found in tuples.items()
    }, names


def ids_of(dataset: Dataset, columns: str | Sequence[str], what: str) -> tuple[np.ndarray, list[str]]:
    """`numbered` for a data set without splits: ids int64 [N] and names."""
    ids, names = numbered(DatasetDict(all=dataset), [columns] if isinstance(columns, str) else columns, what)
    return ids["all"], names


def _numbered_column(dataset: DatasetDict, column: str, what: str) -> tuple[dict[str, np.ndarray], list[str]]:
    parts = {split: coded(data, column, what, split) for split, data in dataset.items()}
    names, places = common_names(parts, what, column)
    return {
        split: places[split][part.ids] if len(part.ids) else part.ids for split, part in parts.items()
    }, names


def coded(data: Dataset, column: str, what: str, split: str) -> Coded:
    """One column of one split. Raises `ValueError` as `numbered` does."""
    if column not in data.column_names:
        raise ValueError(unknown_name(f"{what} column", column, data.column_names))
    feature, values = data.features[column], data.with_format(None)[column][:]
    if not isinstance(feature, ClassLabel | Value):
        raise ValueError(
            f"Column {column!r} holds {_kind(feature)}: "
            f"{'an environment' if what == 'environment' else f'a {what}'} "
            "is told by a string or a number, one a row."
        )
    missing = [row for row, value in enumerate(values) if _is_missing(value, feature, data)]
    if missing:
        raise ValueError(_missing(data, values, missing, column, what, split))
    if isinstance(feature, ClassLabel):
        wrong = [row for row, value in enumerate(values) if value >= len(feature.names)]
        if wrong:
            raise ValueError(
                f"Column {column!r} holds the id {values[wrong[0]]} ({rows_told(data, wrong, split)}), but "
                f"names only {len(feature.names)}: {listed(feature.names)}."
            )
        return Coded(np.asarray(values, np.int64), list(feature.names), is_class_label=True)
    infinite = [row for row, value in enumerate(values) if isinstance(value, float) and math.isinf(value)]
    if infinite:
        raise ValueError(
            f"Column {column!r} holds {values[infinite[0]]} ({rows_told(data, infinite, split)}), which is "
            f"no {what}: correct it, or leave the row out."
        )
    if all(isinstance(value, float) and value.is_integer() for value in values):
        values = [int(value) for value in values]  # missing cells once made them floats
    ids, kinds = pd.factorize(np.array(values, object))
    numbers = bool(len(kinds)) and all(isinstance(kind, int | float) for kind in kinds)
    ordered = sorted(kinds) if numbers else in_order([str(kind) for kind in kinds])
    names = [str(kind) for kind in ordered]
    refuse_similar(names, f"{what}s", f"Column {column!r} of the split {split}")
    position = {name: number for number, name in enumerate(names)}
    place = np.array([position[str(kind)] for kind in kinds], np.int64)
    return Coded(place[ids] if len(ids) else ids.astype(np.int64), names, is_numbers=numbers)


def _kind(feature: Any) -> str:
    return "lists" if isinstance(feature, List) else type(feature).__name__


def _is_missing(value: Any, feature: Any, data: Dataset) -> bool:
    if isinstance(feature, ClassLabel):
        return value is None or value < 0
    if isinstance(value, str):
        return value.strip() == "" or (value in MISSING_WORDS and _is_written(data))
    return value is None or value != value  # NaN differs from itself


def _is_written(data: Dataset) -> bool:
    """Whether the cells come from a table that has no other way to say that there is nothing: .csv, not
    .parquet."""
    return any(origin.heading for origin in origins_of(data))


def _missing(
    data: Dataset, values: Sequence[Any], rows: Sequence[int], column: str, what: str, split: str
) -> str:
    words = sorted(
        {values[row] for row in rows if values[row] in MISSING_WORDS if isinstance(values[row], str)}
    )
    if len(rows) == len(values):
        return (
            f"The split {split} has no {what} in column {column}, in none of its rows: name another "
            f"column, or leave the split out (--ignore_splits {split})."
        )
    way = (
        f" {listed([shown(word) for word in words])} may be a name or mean that there is none: write it out, "
        "or leave the cell empty and the row out."
        if words
        else " Leave them out (dataset.filter, or in the table), or give them one."
    )
    return (
        f"{len(rows)} of {len(values)} rows of the split {split} have no {what} in column {column}: "
        f"{rows_told(data, rows, split)}.{way}"
    )


def common_names(
    parts: Mapping[str, Coded], what: str, column: str
) -> tuple[list[str], dict[str, np.ndarray]]:
    """One list of names for all splits, and each split's ids in it, int64 [C of the split].

    Those of the first `ClassLabel` come first and in its order, new ones after them; a split that has only
    numbers then has ids. Without a `ClassLabel`, all in order. Names that differ from another split's only in
    case or spaces are that split's, and it is said. Raises `ValueError` where one split has numbers and
    another names, with both lists.
    """
    labelled = next((part for part in parts.values() if part.is_class_label), None)
    known = list(labelled.names) if labelled else []
    renamed: dict[str, list[str]] = {}
    for split, part in parts.items():
        told = f"the split {split}"
        if what == "label" and labelled is None and not {*part.names} & {*known}:
            _refuse_numbers_for_names(part.names, known, column, split)
        if labelled is not None and not {*part.names} & {*known} and part.names and _has_ids(part, known):
            match = align(part.names, known, f"{what}s", told, "the splits before it")
            renamed[split] = [known[at] for at in match.ids]
            logger.warning(
                f"Column {column!r} names no {what}s in {told}: its numbers were taken for the ids of "
                f"{listed(known)}."
            )
            continue
        own = _spelled_alike(part.names, known, what, column, split)
        renamed[split] = own
        known += [name for name in own if name not in known]
    if labelled is None:
        known = in_order(known) if not all(_is_number(name) for name in known) else sorted(known, key=float)
    position = {name: number for number, name in enumerate(known)}
    places = {split: np.array([position[name] for name in own], np.int64) for split, own in renamed.items()}
    return known, places


def _refuse_numbers_for_names(names: Sequence[str], known: Sequence[str], column: str, split: str) -> None:
    """Raise `ValueError` where one side has only numbers and the other only names that are none."""
    numeric = [all(_is_number(name) for name in side) for side in (names, known) if side]
    if len({*numeric}) == 2:
        raise ValueError(
            f"Column {column!r} holds {listed(names)} in the split {split}, and {listed(known)} in the "
            "splits before it: numbers and names are not matched. Write one of them in all splits, or make "
            "the column a ClassLabel, whose names say what its numbers mean."
        )


def _has_ids(part: Coded, known: Sequence[str]) -> bool:
    return part.is_numbers or placeholders(part.names) is not None or placeholders(known) is not None


def _is_number(name: str) -> bool:
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False


def _spelled_alike(
    names: Sequence[str], known: Sequence[str], what: str, column: str, split: str
) -> list[str]:
    """The names as they are spelled in `known`, where they are there in another spelling."""
    spelled = {spelling(name): name for name in known}
    own = [name if name in known else spelled.get(spelling(name), name) for name in names]
    changed = [f"{new!r} for {old!r}" for old, new in zip(names, own, strict=True) if new != old]
    if changed:
        if len({*own}) < len(own):
            refuse_similar(list(names), f"{what}s", f"Column {column!r} of the split {split}")
            raise ValueError(
                f"Column {column!r} of the split {split} spells a {what} in two ways: {listed(changed)}."
            )
        logger.warning(
            f"Column {column!r} of the split {split} spells {what}s in another way than the splits before "
            f"it; taken for the same: {listed(changed)}."
        )
    return own
