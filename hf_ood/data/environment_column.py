"""Any data set becomes one with environments: from columns, a function of a row, or a metadata file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas
from datasets import ClassLabel, Dataset, DatasetDict, Image

from ..errors import unknown_name

ENVIRONMENT = "environment"
Data = TypeVar("Data", Dataset, DatasetDict)
Value = Any  # a string, number or bool; a tuple of them for several columns
_READERS = {".csv": pandas.read_csv, ".tsv": pandas.read_table, ".parquet": pandas.read_parquet}


def add_environments(
    dataset: Data,
    column: str | Sequence[str] | None = None,
    function: Callable[[dict[str, Any]], str | int | bool] | None = None,
    metadata_file: str | Path | None = None,
    key: str | None = None,
) -> Data:
    """Add `environment`, a `ClassLabel` with one list of names for all splits, which is what the
    trainers take.

    `column`: a column that tells the environment; several make one environment of each combination that
    occurs, named `hospital=1,camera=b`. `function`: called with each row. `metadata_file`: a csv, tsv,
    json lines or parquet file whose `column` (default: environment) tells it, joined by the column
    `key`, which the file and the data set share; if only the file has it, it is compared with the names
    of the image files.

    Returns a new `Dataset` or `DatasetDict`. Raises `ValueError` for a column that is missing, values that
    are missing, and rows that the file does not have.

    Example: `add_environments(load_dataset("user/scans"), column=["hospital", "scanner"])`
    """
    if isinstance(dataset, Dataset):
        return add_environments(DatasetDict(all=dataset), column, function, metadata_file, key)["all"]
    if not isinstance(dataset, DatasetDict):
        raise TypeError(f"Expected a datasets.Dataset or DatasetDict, not {type(dataset).__name__}.")
    if (function is not None) + (metadata_file is not None) > 1 or (
        function is not None and column is not None
    ):
        raise ValueError("Give one of column, function, and metadata_file (with the file's column and key).")
    columns = [column] if isinstance(column, str) else list(column or [])
    if metadata_file is not None:
        table = _read_metadata(Path(metadata_file), columns or [ENVIRONMENT], key, dataset)
        values = {split: _join(data, split, table, Path(metadata_file)) for split, data in dataset.items()}
    elif function is not None:
        values = {split: [function(row) for row in data] for split, data in dataset.items()}
    elif columns:
        values = {split: _combine(data, columns) for split, data in dataset.items()}
    else:
        raise ValueError("Say where environments come from: column, function, or metadata_file.")
    replaced = columns == [ENVIRONMENT] and metadata_file is None
    return _with_environments(dataset, values, columns, replaced)


def _with_environments(
    dataset: DatasetDict, values: Mapping[str, list[Value]], columns: list[str], replaced: bool
) -> DatasetDict:
    for split, data in dataset.items():
        if ENVIRONMENT in data.column_names and not replaced:
            raise ValueError(
                f"The split {split} has a column 'environment' already: use it (column='environment'), or "
                "rename it first (dataset.rename_column)."
            )
    ids, names = _number(values, columns, "environment")
    added = {}
    for split, data in dataset.items():
        rest = data.remove_columns(ENVIRONMENT) if replaced else data
        added[split] = rest.add_column(ENVIRONMENT, ids[split], feature=ClassLabel(names=names))
    return DatasetDict(added)


def numbered(
    dataset: DatasetDict, columns: Sequence[str], what: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The ids of a column, or of the combinations of several, int64 by split, and the names they stand for.

    One list of names for all splits: a `ClassLabel`'s if all splits have the same, otherwise the values that
    occur, numbers in their order before strings in theirs. `what`: what the column tells, for errors. Raises
    `ValueError` as `add_environments` does.
    """
    values = {split: _combine(data, columns, f"{what} column") for split, data in dataset.items()}
    ids, names = _number(values, columns, what)
    own = [data.features[column] for data in dataset.values() for column in columns]
    if len(columns) == 1 and isinstance(own[0], ClassLabel) and all(other == own[0] for other in own):
        position = np.array([own[0].names.index(name) for name in names], np.int64)
        ids, names = {split: position[part] for split, part in ids.items()}, list(own[0].names)
    return ids, names


def _number(
    values: Mapping[str, list[Value]], columns: Sequence[str], what: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    where = f" in column {' or '.join(columns)}" if columns else ""
    for split, found in values.items():
        missing = [number for number, value in enumerate(found) if _is_missing(value)]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(found)} rows of the split {split} have no {what}{where}, the first "
                f"is row {missing[0]} (from 0). Leave them out (dataset.filter), or give them one; in a "
                ".csv, NA, None, nan and null mean none."
            )
    kinds = sorted({value for found in values.values() for value in found}, key=_order)
    position = {value: number for number, value in enumerate(kinds)}
    ids = {
        split: np.fromiter((position[value] for value in found), np.int64, len(found))
        for split, found in values.items()
    }
    return ids, [_name(value, columns) for value in kinds]


def _combine(data: Dataset, columns: Sequence[str], kind: str = "column") -> list[Value]:
    """The value of one column, or the tuple of several, for each row; None where one is missing."""
    for column in columns:
        if column not in data.column_names:
            raise ValueError(unknown_name(kind, column, data.column_names))
    readable = [_readable(data, column) for column in columns]
    if len(columns) == 1:
        return readable[0]
    rows = zip(*readable, strict=True)
    return [None if any(_is_missing(value) for value in row) else row for row in rows]


def _readable(data: Dataset, column: str) -> list[Value]:
    feature, values = data.features[column], data[column][:]
    if isinstance(feature, ClassLabel):
        return [None if value is None or value < 0 else feature.int2str(value) for value in values]
    if any(isinstance(value, (list, dict)) for value in values[:1]):
        raise ValueError(
            f"Column {column!r} holds {feature}: an environment is told by a string or a number."
        )
    if feature.dtype.startswith("float") and all(
        _is_missing(value) or value == int(value) for value in values
    ):
        return [None if _is_missing(value) else int(value) for value in values]  # pandas made them floats
    return values


def _is_missing(value: Value) -> bool:
    return value is None or value == "" or value != value  # NaN differs from itself


def _order(value: Value) -> tuple[Any, ...]:
    """Numbers in their order, before strings in theirs; tuples by their parts."""
    parts = value if isinstance(value, tuple) else (value,)
    return tuple((0, part, "") if isinstance(part, (int, float)) else (1, 0, str(part)) for part in parts)


def _name(value: Value, columns: Sequence[str]) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{column}={part}" for column, part in zip(columns, value, strict=True))
    return str(value)


def _read_metadata(
    file: Path, columns: list[str], key: str | None, dataset: DatasetDict
) -> tuple[str, dict[str, Value]]:
    """The key's name, and the environment of each key, written as a string."""
    if not file.is_file():
        raise FileNotFoundError(f"There is no metadata file {file}.")
    if file.suffix in (".json", ".jsonl"):
        table = pandas.read_json(file, lines=True)
    elif file.suffix in _READERS:
        table = _READERS[file.suffix](file)
    else:
        raise ValueError(f"{file} is none of .csv, .tsv, .jsonl, .parquet.")
    present = [str(name) for name in table.columns]
    if key is None:
        shared = [name for name in present if all(name in data.column_names for data in dataset.values())]
        shared = [name for name in shared if name not in columns] or ["file_name"] * ("file_name" in present)
        if len(shared) != 1:
            raise ValueError(
                f"Name the key that joins {file} ({', '.join(present)}) and the data set "
                f"({', '.join(next(iter(dataset.values())).column_names)}): key=..."
            )
        key = shared[0]
    for name in [key, *columns]:
        if name not in present:
            raise ValueError(f"{file}: {unknown_name('column', name, present)}")
    keys = table[key].astype(str)
    if keys.duplicated().any():
        raise ValueError(f"{file} has several rows with {key} {keys[keys.duplicated()].iloc[0]!r}.")
    cells = table[columns].astype(object).where(table[columns].notna(), None)
    values = cells.itertuples(index=False, name=None)
    joined = [row[0] if len(columns) == 1 else None if None in row else row for row in values]
    return key, dict(zip(keys, joined, strict=True))


def _join(data: Dataset, split: str, table: tuple[str, dict[str, Value]], file: Path) -> list[Value]:
    key, environments = table
    keys = [str(value) for value in data[key]] if key in data.column_names else _image_names(data, key)
    lost = [value for value in keys if value not in environments]
    if lost:
        raise ValueError(
            f"{len(lost)} of {len(keys)} rows of the split {split} are not in {file}, the first has {key} "
            f"{lost[0]!r}."
        )
    return [environments[value] for value in keys]


def _image_names(data: Dataset, key: str) -> list[str]:
    """The names of the files that the images come from."""
    column = next((name for name, feature in data.features.items() if isinstance(feature, Image)), None)
    if column is None:
        raise ValueError(unknown_name("column", key, data.column_names))
    paths = [image["path"] for image in data.cast_column(column, Image(decode=False))[column]]
    if None in paths:
        raise ValueError(
            f"The images of {column!r} come without file names: add a column {key!r} to the data set."
        )
    return [Path(path).name for path in paths]
