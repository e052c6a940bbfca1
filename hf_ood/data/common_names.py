"""One list of names for all splits of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict, Features

from .align import spelling


def with_common_names(dataset: DatasetDict) -> DatasetDict:
    """Splits whose columns have the same types: ids of a `ClassLabel` mean one name in all of them.

    The names are the first split's, in its order, followed by those that only later splits have; ids are
    recoded by name, and missing ones (None, -1) stay. Columns come in the first split's order. Splits that
    agree are returned as they are.

    Raises `ValueError` naming split and column when splits differ in anything else: a column that one lacks,
    another type, or names that differ only in case or spaces, where it is not known whether they mean one.
    """
    first = next(iter(dataset))
    features = dict(dataset[first].features)
    for split, data in dataset.items():
        _refuse_other_columns(str(first), features, str(split), data.features)
        for column, feature in data.features.items():
            features[column] = _joined(features[column], feature, f"split {split}, column {column!r}")
    common = Features(features)
    return DatasetDict({split: _recoded(data, common) for split, data in dataset.items()})


def _refuse_other_columns(first: str, known: Mapping[str, Any], split: str, own: Mapping[str, Any]) -> None:
    for lacking, having, column in (
        *((split, first, column) for column in known if column not in own),
        *((first, split, column) for column in own if column not in known),
    ):
        raise ValueError(
            f"Split {lacking} has no column {column!r}, which split {having} has: all splits of a dataset "
            f'have the same columns. Take it out of {having} (remove_columns("{column}")), or add it.'
        )


def _joined(known: Any, own: Any, place: str) -> Any:
    """The feature that holds both. Raises `ValueError` where there is none."""
    if known == own:
        return known
    if not (isinstance(known, ClassLabel) and isinstance(own, ClassLabel)):
        raise ValueError(
            f"{place}: the type is {own}, but {known} in the splits before it. Cast one of them with "
            "cast_column."
        )
    names, others = list(known.names), set(own.names)
    spelled = {spelling(name): name for name in names if name not in others}
    for name in own.names:
        if name in known.names:
            continue
        if (alike := spelled.get(spelling(name))) is not None:
            raise ValueError(
                f"{place}: {name!r} and {alike!r}, of the splits before it, differ only in case or spaces. "
                "Write them alike; if they do differ, give them names of their own."
            )
        names.append(name)
    return ClassLabel(names=names)


def _recoded(data: Dataset, features: Features) -> Dataset:
    columns = {
        column: _positions(data.features[column].names, feature.names)
        for column, feature in features.items()
        if isinstance(feature, ClassLabel) and data.features[column] != feature
    }
    data = data.select_columns(list(features))
    if not columns:
        return data

    def recode(table: pa.Table) -> pa.Table:
        for column, positions in columns.items():
            ids = [
                position if position is None or position < 0 else positions[position]
                for position in table[column].to_pylist()
            ]
            number = table.schema.get_field_index(column)
            table = table.set_column(number, table.schema.field(column), pa.array(ids, pa.int64()))
        return table

    format_ = data.format
    recoded = data.with_format("arrow").map(recode, batched=True, features=features, desc="common names")
    return recoded.with_format(**{key: format_[key] for key in ("type", "columns", "output_all_columns")})


def _positions(names: Sequence[str], known: Sequence[str]) -> list[int]:
    position = {name: number for number, name in enumerate(known)}
    return [position[name] for name in names]
