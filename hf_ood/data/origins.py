"""Where a row comes from, in the words of who wrote it: which file, which line, which key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Audio, Dataset, Image

KEYS = ("id", "key", "file_name", "path", "patient", "name")  # columns that tell a row from others


@dataclass(frozen=True)
class Origin:
    """A file that rows were read from: its name as the user knows it, how many rows it gave, how many lines
    stand before the first, and whether a row is a line there (False: a cell has several, or there are no
    lines)."""

    file: str
    rows: int
    heading: int = 1
    is_lines: bool = False


def with_origins(dataset: Dataset, origins: Sequence[Origin]) -> Dataset:
    """The same data set, which knows the files that its rows come from, in order."""
    dataset.info.download_checksums = {
        origin.file: {"rows": origin.rows, "heading": origin.heading, "is_lines": origin.is_lines}
        for origin in origins
    }
    return dataset


def origins_of(dataset: Dataset) -> list[Origin]:
    """The files that the rows come from; none where that is not known, or rows were left out since."""
    noted = dataset.info.download_checksums or {}
    found = [
        Origin(file, **entry) for file, entry in noted.items() if {*entry} == {"rows", "heading", "is_lines"}
    ]
    return found if sum(origin.rows for origin in found) == len(dataset) else []


def where(dataset: Dataset, row: int, split: str | None = None) -> str:
    """`row 8 of t.csv (line 9), file_name 7.png`; of a data set without files, `row 7 (from 0) of the split
    test`."""
    key = key_of(dataset, row)
    told = f", {key}" if key else ""
    first = 0
    for origin in origins_of(dataset):
        if row < first + origin.rows:
            number = row - first + 1
            line = f" (line {number + origin.heading})" if origin.is_lines else ""
            return f"row {number} of {origin.file}{line}{told}"
        first += origin.rows
    place = f" of the split {split}" if split else ""
    return f"row {row} (from 0){place}{told}"


def key_of(dataset: Dataset, row: int) -> str | None:
    """The first cell of the row that tells it from others: `file_name 7.png`, or its image's or
    sound's."""
    for name in KEYS:
        if name in dataset.column_names:
            cell = dataset.with_format(None).select_columns([name])[row][name]
            if isinstance(cell, str | int) and cell != "":
                return f"{name} {cell}"
    for name, feature in dataset.features.items():
        if isinstance(feature, Image | Audio):
            cell = (
                dataset.with_format(None)
                .select_columns([name])
                .cast_column(name, type(feature)(decode=False))[row][name]
            )
            if cell and cell["path"]:
                return Path(cell["path"]).name
    return None


def rows_told(dataset: Dataset, rows: Sequence[int], split: str | None = None, most: int = 3) -> str:
    """Where the first of these rows are, and how many more there are."""
    told = "; ".join(where(dataset, int(row), split) for row in rows[:most])
    return told + (f"; and {len(rows) - most} more" if len(rows) > most else "")


def shown(value: Any, most: int = 60) -> str:
    """A value as an error quotes it."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
