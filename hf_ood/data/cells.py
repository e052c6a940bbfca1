"""Cells of a table's columns as numbers and categories, or an error that says which cell is neither."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, LargeList, List, Value

from .columns import require_columns
from .ids import MISSING_WORDS
from .origins import shown, where

MANY_CATEGORIES = 20  # more texts than these that hardly repeat, or are mostly numbers, are no categories
LARGEST = float(np.finfo(np.float32).max)
Teller = Callable[[int], str]  # where a row is, as the user counts


@dataclass(frozen=True)
class Cells:
    """Rows as they were read: `numbers` float64 [N, n], NaN where there is none; `categories` names, object
    [N, k], None where there is none."""

    numbers: np.ndarray
    categories: np.ndarray

    def select(self, rows: np.ndarray) -> Cells:
        return Cells(self.numbers[rows], self.categories[rows])


def read_cells(
    data: Dataset,
    columns: Mapping[str, int | None],
    categories: Sequence[str],
    tell: Teller,
    may_miss: bool,
) -> Cells:
    """The cells of the columns, each with how many numbers a cell holds (None: one), but for `categories`.

    Text that is written as a number is one. Raises `ValueError` for what is not what its column holds, for
    infinities and, unless they `may_miss`, for missing values, with the row and the way out.
    """
    require_columns(data, *columns)
    plain = data.with_format(None)
    read_numbers, read_names = [], []
    for column, width in columns.items():
        if column in categories:
            names = _names(plain[column][:], data.features[column])
            _refuse_missing([name is None for name in names], column, tell, may_miss)
            read_names.append(as_objects(names))
        else:
            if width is None and _is_stored_number(data.features[column]):
                values = _stored_numbers(data, column, tell)
            else:
                values = _numbers(plain[column][:], width, column, tell)
            _refuse_missing(np.isnan(values).any(1), column, tell, may_miss)
            read_numbers.append(values)
    count = len(data)
    return Cells(
        np.concatenate([np.empty((count, 0)), *read_numbers], axis=1),
        np.stack(read_names, axis=1) if read_names else np.empty((count, 0), object),
    )


def is_category(data: Dataset, column: str) -> bool:
    """Raises `ValueError` for texts that are no categories."""
    feature = data.features[column]
    if isinstance(feature, ClassLabel) or getattr(feature, "dtype", "") == "bool":
        return True
    if isinstance(feature, Value) and "string" in feature.dtype:
        _require_categories(data, column)
        return True
    return False


def _require_categories(data: Dataset, column: str) -> None:
    cells = data.with_format(None)[column][:]
    kinds = {cell for cell in cells if not _is_missing(cell)}
    if len(kinds) <= MANY_CATEGORIES:
        return
    strange = {kind for kind in kinds if _as_number(kind) is None}
    if len(strange) < len(kinds) / 2:
        wrong = [row for row, cell in enumerate(cells) if cell in strange]
        if wrong:
            raise ValueError(
                f"Column {column!r} holds numbers, and {shown(cells[wrong[0]])} in {where(data, wrong[0])}: "
                "correct it, or leave the cell empty."
            )
    if len(kinds) > len(cells) / 2:
        raise ValueError(
            f"Column {column!r} holds {len(kinds)} different texts in {len(cells)} rows, such as "
            f"{shown(cells[0])}: these are no categories. Leave it out of the feature columns."
        )


def width_of(data: Dataset, column: str) -> int | None:
    """How many numbers the lists of a column hold; None: it holds numbers. Raises `ValueError` for others."""
    feature = data.features[column]
    inner = feature.feature if isinstance(feature, List | LargeList) else feature
    if getattr(inner, "dtype", "") == "null":
        raise ValueError(f"Column {column!r} has no value in any row: leave it out.")
    if not _is_stored_number(inner):
        raise ValueError(
            f"Column {column!r} holds {shown(feature)}: a feature is a number, a list of numbers, or a "
            "category (a string, a bool or a ClassLabel). Leave it out, or write it as one of these."
        )
    if inner is feature:
        return None
    cells = data.with_format(None)[column]
    return next((len(cell) for cell in cells if cell), 0)


def _is_stored_number(feature: Any) -> bool:
    return isinstance(feature, Value) and feature.dtype.startswith(("int", "uint", "float", "decimal"))


def _stored_numbers(data: Dataset, column: str, tell: Teller) -> np.ndarray:
    """float64 [N, 1] of a column whose cells are numbers, not lists or texts; NaN where there is nothing."""
    cells = data.with_format("arrow").select_columns([column])[:][column]
    values = pc.cast(cells, "float64", safe=False).to_numpy()
    for row in np.flatnonzero(np.abs(values) > LARGEST)[:1]:
        _refuse_number(values[row].item(), column, tell(int(row)))
    return values[:, None]


def _refuse_number(cell: Any, column: str, place: str) -> NoReturn:
    raise ValueError(
        f"Column {column!r} holds {shown(cell)} in {place}, which is no finite number of 32 bits: correct "
        "it, or leave the row out."
    )


def _numbers(cells: Sequence[Any], width: int | None, column: str, tell: Teller) -> np.ndarray:
    """float64 [N, width or 1], NaN where there is nothing."""
    rows = []
    for row, cell in enumerate(cells):
        if width is None:
            own = [cell]
        elif cell is None:
            own = [None] * width
        elif isinstance(cell, Sequence) and not isinstance(cell, str) and len(cell) == width:
            own = list(cell)
        else:
            told = f"{len(cell)} numbers" if isinstance(cell, list) else shown(cell)
            raise ValueError(
                f"Column {column!r} holds lists of {width} numbers, and {told} in {tell(row)}: a vector "
                "has one length in all rows."
            )
        found = [np.nan if _is_missing(value) else _as_number(value) for value in own]
        if any(value is None or abs(value) > LARGEST for value in found):
            _refuse_number(cell, column, tell(row))
        rows.append(found)
    return np.array(rows, float).reshape(len(cells), 1 if width is None else width)


def _as_number(cell: Any) -> float | None:
    try:
        return None if isinstance(cell, bool) or "_" in str(cell) else float(cell)  # 1_000 is no number
    except (TypeError, ValueError):
        return None


def _names(cells: Sequence[Any], feature: Any) -> list[str | None]:
    """Categories by name."""
    if isinstance(feature, ClassLabel):
        return [None if cell is None or cell < 0 else feature.int2str(cell) for cell in cells]
    whole = (int(cell) if isinstance(cell, float) and cell.is_integer() else cell for cell in cells)
    return [None if _is_missing(cell) else str(cell) for cell in whole]


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip() == "" or cell in MISSING_WORDS
    return cell is None or cell != cell  # NaN differs from itself


def _refuse_missing(missing: Any, column: str, tell: Teller, may_miss: bool) -> None:
    rows = np.flatnonzero(missing)
    if len(rows) and not may_miss:
        told = "; ".join(tell(int(row)) for row in rows[:3])
        more = f"; and {len(rows) - 3} more" if len(rows) > 3 else ""
        raise ValueError(
            f"Column {column!r} has no value in {len(rows)} of {len(missing)} rows ({told}{more}): fill "
            "it in, leave the rows out, or train with --impute true (the median, or the most frequent "
            "category, of the training rows)."
        )


def as_objects(values: Any) -> np.ndarray:
    return np.array(values, dtype=object)
