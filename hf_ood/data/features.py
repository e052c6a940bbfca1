"""Columns of numbers and categories as vectors: standardised and one-hot, as the training rows say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset, DatasetDict
from transformers.utils import cached_file, logging

from ..json_files import json_text
from .align import in_order, listed
from .cells import Cells, Teller, as_objects, is_category, read_cells, width_of
from .columns import require_columns
from .origins import where

if TYPE_CHECKING:  # a second of importing, which only runs on features need
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

logger = logging.get_logger(__name__)
FEATURES_FILE = "features.json"  # beside the weights


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
                categories = _category_imputer().fit(as_objects([self.most_frequent])).transform(categories)
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

        names = [as_objects(own) for own in self.categories.values()]
        encoder = OneHotEncoder(categories=names, handle_unknown="ignore", sparse_output=False)
        return encoder.fit(as_objects([[own[0] for own in names]]))

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
    kinds = {column: width_of(first, column) for column in columns if not is_category(first, column)}
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
