"""What a table beside a data set says of its rows, joined by a key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from datasets import Dataset, DatasetDict, Image

from ..errors import unknown_name
from .origins import where
from .tables import read_table


def joined_columns(dataset: DatasetDict, file: Path, columns: Sequence[str], key: str | None) -> DatasetDict:
    """Columns of the file for each row of the data set.

    `key`: the column by which they are joined; None: the only one that they share, or `file_name`, which is
    compared with the paths of the image files from their end on. Keys are compared as they are written: 001
    is not 1. Raises `ValueError` for columns that are not there, a row that the file does not have, two rows
    of the file with one key, and a file name that means several images of a split.
    """
    if not file.is_file():
        raise FileNotFoundError(f"There is no metadata file {file}.")
    table = read_table(file)
    key = key or _shared_key(table, dataset, columns, file)
    for name in (key, *columns):
        if name not in table.column_names:
            raise ValueError(f"{file}: {unknown_name('column', name, table.column_names)}")
    keys = [None if cell is None else str(cell) for cell in table[key]]
    row_of: dict[str, int] = {}
    for row, written in enumerate(keys):
        if written in row_of:
            raise ValueError(
                f"{file} has several rows with {key} {written!r}, the second is {where(table, row)}."
            )
        if written is not None:
            row_of[written] = row
    joined = {}
    for split, data in dataset.items():
        rows = _rows_of(data, split, key, row_of, file)
        joined[split] = table.select_columns(list(columns)).select(rows)
    return DatasetDict(joined)


def _shared_key(table: Dataset, dataset: DatasetDict, columns: Sequence[str], file: Path) -> str:
    shared = [
        name
        for name in table.column_names
        if name not in columns and all(name in data.column_names for data in dataset.values())
    ]
    shared = shared or ["file_name"] * ("file_name" in table.column_names)
    if len(shared) != 1:
        raise ValueError(
            f"Name the key that joins {file} ({', '.join(table.column_names)}) and the data set "
            f"({', '.join(next(iter(dataset.values())).column_names)}): key=..."
        )
    return shared[0]


def _rows_of(data: Dataset, split: str, key: str, row_of: dict[str, int], file: Path) -> list[int]:
    """The file's row for each row of the split."""
    if key in data.column_names:
        asked = [str(value) for value in data[key]]
        found = [row_of.get(value) for value in asked]
    else:
        asked = _image_paths(data, key)
        ends = {tuple(_parts(name)): row for name, row in row_of.items()}
        found = [_by_end(path, ends) for path in asked]
        _refuse_shared(asked, found, key, file)
    lost = [row for row, at in enumerate(found) if at is None]
    if lost:
        raise ValueError(
            f"{len(lost)} of {len(asked)} rows of the split {split} are not in {file}, the first has {key} "
            f"{asked[lost[0]]!r}."
        )
    return [at for at in found if at is not None]


def _by_end(path: str, ends: dict[tuple[str, ...], int]) -> int | None:
    """The row whose key is the longest end of the path."""
    parts = _parts(path)
    return next((ends[tuple(parts[at:])] for at in range(len(parts)) if tuple(parts[at:]) in ends), None)


def _refuse_shared(paths: Sequence[str], found: Sequence[int | None], key: str, file: Path) -> None:
    first: dict[int, str] = {}
    for path, row in zip(paths, found, strict=True):
        if row is not None and first.setdefault(row, path) != path:
            ends = [str(PurePosixPath(*_parts(one)[-2:])) for one in (first[row], path)]
            raise ValueError(
                f"One {key} in {file} means several images, {ends[0]} and {ends[1]} among them: write their "
                "paths from the folder of the data set on, such as these."
            )


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]


def _image_paths(data: Dataset, key: str) -> list[str]:
    """The paths of the files that the images come from."""
    column = next((name for name, feature in data.features.items() if isinstance(feature, Image)), None)
    if column is None:
        raise ValueError(unknown_name("column", key, data.column_names))
    cells: list[Any] = data.select_columns([column]).cast_column(column, Image(decode=False))[column][:]
    paths = [cell["path"] for cell in cells]
    if None in paths:
        raise ValueError(
            f"The images of {column!r} come without file names: add a column {key!r} to the data set."
        )
    return paths
