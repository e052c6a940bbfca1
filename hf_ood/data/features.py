"""Columns of numbers and categories as vectors: standardised and one-hot, as the training rows say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, LargeList, List, Value
from transformers.utils import cached_file, logging

from ..json_files import json_text
from .align import in_order, listed
from .columns import require_columns
from .ids import MISSING_WORDS
from .origins import shown, where

if TYPE_CHECKING:  # a second of importing, which only runs on features need
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

logger = logging.get_logger(__name__)
FEATURES_FILE = "features.json"  # beside the weights
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


@dataclass(frozen=True)
class FeatureProcessor:
    """What turns columns of a table into the vectors that a network was trained on.

    `columns`: in the order that they were asked for. `numbers`: those that hold numbers, with how many a
    cell holds (None: one; otherwise a list). `categories`: the others, with their names. `mean`, `scale`,
    `median`: of the training rows, [n]. `most_frequent`: of each column of categories. `median` and
    `most_frequent` are None where missing values are an error.

    A vector holds the standardised numbers, then a 0 or 1 for each category; a category that no training row
    had is all zeros. Saved as JSON beside the model, from which scikit-learn's transformers are built again.
    Raises `ValueError` for statistics that are not those of the columns.
    """

    columns: Sequence[str]
    numbers: Mapping[str, int | None]
    categories: Mapping[str, Sequence[str]]
    mean: Sequence[float]
    scale: Sequence[float]
    median: Sequence[float] | None = None
    most_frequent: Sequence[str] | None = None

    def __post_init__(self) -> None:
        counted = sum(1 if width is None else width for width in self.numbers.values())
        statistics = {"mean": self.mean, "scale": self.scale, "median": self.median}
        for name, values in statistics.items():
            if values is not None and not (len(values) == counted and np.isfinite(values).all()):
                raise ValueError(f"{name} must hold a finite value for each of {counted} numbers.")
        if {*self.columns} != {*self.numbers} | {*self.categories}:
            raise ValueError("numbers and categories must be the columns.")
        if not all(self.categories.values()):
            raise ValueError("a column of categories must have some.")
        if (self.median is None) != (self.most_frequent is None) or (
            self.most_frequent is not None and len(self.most_frequent) != len(self.categories)
        ):
            raise ValueError("most_frequent must hold a value for each column of categories, beside median.")

    @property
    def imputes(self) -> bool:
        return self.median is not None

    def told(self) -> str:
        """What each column is read as: a slip among numbers in a text file makes their column categories."""
        numbers = [
            name if width is None else f"{name} ({width} each)" for name, width in self.numbers.items()
        ]
        names = [f"{column} ({listed(own)})" for column, own in self.categories.items()]
        kinds = {"numbers": listed(numbers), "categories": "; ".join(names)}
        size = len(self.mean) + sum(map(len, self.categories.values()))
        parts = [f"{kind} {columns}" for kind, columns in kinds.items() if columns]
        return f"features: {'; '.join([*parts, f'vectors of {size}'])}"

    def read(self, data: Dataset, tell: Teller) -> Cells:
        """The cells of these columns. Raises `ValueError` for a column that is missing, a cell that is not
        what its column holds, and, unless they are filled in, missing values."""
        kinds = {column: self.numbers.get(column) for column in self.columns}
        return read_cells(data, kinds, list(self.categories), tell, self.imputes)

    def __call__(self, cells: Cells) -> np.ndarray:
        """Vectors float32 [N, D]; categories that are not known are said."""
        parts, numbers, categories = [], cells.numbers, cells.categories
        if self.numbers:
            if self.median is not None:
                numbers = _number_imputer().fit([self.median]).transform(numbers)
            parts.append(self._scaler().transform(numbers))
        if self.categories:
            if self.most_frequent is not None:
                categories = _category_imputer().fit(_objects([self.most_frequent])).transform(categories)
            for column, names, values in zip(
                self.categories, self.categories.values(), categories.T, strict=True
            ):
                _say_unknown(column, names, values)
            parts.append(self._encoder().transform(categories))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def vectors(self, data: Dataset, tell: Teller | None = None) -> np.ndarray:
        """The rows of a table, float32 [N, D]. `tell`: where a row is. Raises as `read` does."""
        return self(self.read(data, tell or (lambda row: where(data, row))))

    def _scaler(self) -> StandardScaler:
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        scaler.mean_, scaler.scale_ = np.array(self.mean), np.array(self.scale)
        scaler.var_, scaler.n_features_in_ = scaler.scale_**2, len(self.mean)
        return scaler

    def _encoder(self) -> OneHotEncoder:
        from sklearn.preprocessing import OneHotEncoder

        names = [_objects(own) for own in self.categories.values()]
        encoder = OneHotEncoder(categories=names, handle_unknown="ignore", sparse_output=False)
        return encoder.fit(_objects([[own[0] for own in names]]))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `features.json` into the folder."""
        file = Path(folder) / FEATURES_FILE
        file.write_text(json_text(vars(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> FeatureProcessor:
        """The processor of a folder or a Hub id; `options`: `revision`, `token`. Raises `ValueError` for a
        file that is none."""
        file = features_file(name, **options)
        if file is None:
            raise FileNotFoundError(f"{name} has no {FEATURES_FILE}.")
        try:
            return cls(**json.loads(Path(file).read_text(encoding="utf-8")))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{FEATURES_FILE} of {name} cannot be read: {error}") from error


def takes_features(processor: Any) -> bool:
    return isinstance(processor, FeatureProcessor)


def features_file(name: str | Path, **options: Any) -> str | None:
    """Where the `features.json` of a folder or a Hub id is; None where there is none."""
    known = {key: options[key] for key in ("revision", "token", "cache_dir") if key in options}
    return cached_file(
        str(name),
        FEATURES_FILE,
        **known,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )


def feature_vectors(
    dataset: DatasetDict,
    columns: Sequence[str],
    train: np.ndarray,
    impute: bool = False,
    processor: FeatureProcessor | None = None,
) -> tuple[FeatureProcessor, np.ndarray]:
    """The processor that the rows `train` make, int64 positions in all splits together, or the one that is
    given, and the vectors of all rows, float32 [N, D].

    Raises `ValueError` for columns that are missing or hold something else than numbers, lists of them and
    categories, for missing values unless `impute`, and for a processor of other columns.
    """
    if processor is not None and list(processor.columns) != list(columns):
        raise ValueError(
            f"The processor reads the columns {listed(processor.columns)}, and {listed(columns)} are asked "
            "for: ask for the same, in that order."
        )
    if processor is not None and impute and not processor.imputes:
        raise ValueError("The processor of the starting weights fills nothing in: leave --impute out.")
    twice = sorted({column for column in columns if list(columns).count(column) > 1})
    if twice or not columns:
        raise ValueError(f"Name each feature column once{f', not {listed(twice)} twice' if twice else ''}.")
    first = next(iter(dataset.values()))
    require_columns(first, *columns)
    kinds = {column: _width(first, column) for column in columns if not _is_category(first, column)}
    categories = [column for column in columns if column not in kinds]
    if processor is not None:
        kinds, categories, impute = dict(processor.numbers), list(processor.categories), processor.imputes
    parts = [
        read_cells(
            data,
            {column: kinds.get(column) for column in columns},
            categories,
            partial(where, data, split=str(split)),
            impute,
        )
        for split, data in dataset.items()
    ]
    cells = Cells(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("numbers", "categories"))
    )
    made = processor or _fit(cells.select(train), list(columns), kinds, categories, impute)
    return made, made(cells)


def _fit(
    cells: Cells,
    columns: Sequence[str],
    numbers: Mapping[str, int | None],
    categories: Sequence[str],
    impute: bool,
) -> FeatureProcessor:
    """What the rows say about the columns. Raises `ValueError` for a column without any value in them."""
    fitted: dict[str, Any] = {"mean": [], "scale": []}
    owners = [column for column, width in numbers.items() for _ in range(width or 1)]
    for column, is_empty in [
        *zip(owners, np.isnan(cells.numbers).all(0), strict=True),
        *zip(categories, (cells.categories == None).all(0), strict=True),  # noqa: E711 (of each cell)
    ]:
        if is_empty:
            raise ValueError(f"Column {column!r} has no value in any training row: leave it out.")
    values, names = cells.numbers, cells.categories
    if impute:
        fitted |= {"median": [], "most_frequent": []}
        if numbers:
            imputer = _number_imputer().fit(values)
            values, fitted["median"] = imputer.transform(values), imputer.statistics_.tolist()
        if categories:
            imputer = _category_imputer().fit(names)
            names, fitted["most_frequent"] = imputer.transform(names), imputer.statistics_.tolist()
    if numbers:
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(values)
        fitted |= {"mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist()}
    known = {column: in_order(sorted({*own})) for column, own in zip(categories, names.T, strict=True)}
    return FeatureProcessor(columns, dict(numbers), known, **fitted)


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
            read_names.append(_objects(names))
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


def _is_category(data: Dataset, column: str) -> bool:
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


def _width(data: Dataset, column: str) -> int | None:
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


def _say_unknown(column: str, known: Sequence[str], values: np.ndarray) -> None:
    names = {*known}
    strange = [name for name in values if name not in names]
    if strange:
        logger.warning(
            f"Column {column!r} holds categories that no training row had: "
            f"{listed([repr(name) for name in in_order(sorted({*strange}))])} ({len(strange):,} rows). They "
            f"count as none of {listed(known)}."
        )


def _number_imputer() -> SimpleImputer:
    from sklearn.impute import SimpleImputer

    return SimpleImputer(strategy="median")


def _category_imputer() -> SimpleImputer:
    from sklearn.impute import SimpleImputer

    return SimpleImputer(missing_values=None, strategy="most_frequent")


def _objects(values: Any) -> np.ndarray:
    return np.array(values, dtype=object)
