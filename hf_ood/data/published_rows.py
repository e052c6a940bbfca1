"""Rows as they may be published: images without metadata, and no path of this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, Image
from datasets.table import embed_table_storage

from ..local_paths import base_name, is_absolute
from .folders import IMAGES
from .image_metadata import without_metadata

FILE = {"bytes", "path"}  # what a cell with a file in it has
_SUSPECT = r"^(/|~|[A-Za-z]:[\\/]|\\\\|file:)|(^|[\\/])\.\.[\\/]"
BATCH = 1000


def published_rows(dataset: Dataset, place: str, cache_file: str) -> tuple[Dataset, int]:
    """The rows with their files inside them, by base names, and how many images had metadata to take out.

    `place`: what the rows are called in errors; `cache_file`: where they are kept, which may be larger than
    memory. Images are cleaned by `without_metadata`, also in lists and in structs of `bytes` and `path`.

    Raises `ValueError` naming row and column for a file that is missing, an image that cannot be read, and a
    string that is a path on this machine, or leads out of the folder.
    """
    cleaned = 0

    def clean(table: pa.Table, rows: list[int]) -> pa.Table:
        nonlocal cleaned
        for column in table.column_names:
            _refuse_paths(table[column], dataset.features[column], f"{place}, column {column!r}", rows)
        try:
            table = embed_table_storage(table)
        except OSError as error:
            raise ValueError(
                f"{place}: a file of rows {rows[0]} to {rows[-1]} cannot be read ({error}): leave the row "
                "out, or put the file back."
            ) from error
        for column, feature in dataset.features.items():
            if not _holds_files(feature):
                continue
            values = []
            for row, value in zip(rows, table[column].to_pylist(), strict=True):
                try:
                    value, count = _cleaned(value, feature)
                except ValueError as error:
                    raise ValueError(
                        f"{place}, column {column!r}, row {row}: {error}. Leave the row out, or repair it."
                    ) from error
                cleaned += count
                values.append(value)
            number = table.schema.get_field_index(column)
            field = table.schema.field(column)
            table = table.set_column(number, field, pa.array(values, field.type))
        return table

    with_files = dataset.with_format("arrow").map(
        clean,
        with_indices=True,
        batched=True,
        batch_size=BATCH,
        cache_file_name=cache_file,
        load_from_cache_file=False,
        new_fingerprint="published",
    )
    return with_files.with_format(None), cleaned


def _holds_files(feature: Any) -> bool:
    if isinstance(feature, Image):
        return True
    if isinstance(feature, Mapping):
        return set(feature) == FILE or any(map(_holds_files, feature.values()))
    return _holds_files(inner) if (inner := getattr(feature, "feature", None)) is not None else False


def _cleaned(value: Any, feature: Any) -> tuple[Any, int]:
    """A cell, and how many images in it had metadata to take out."""
    if value is None:
        return None, 0
    if isinstance(feature, Image) or (isinstance(feature, Mapping) and set(feature) == FILE):
        return _cleaned_file(value, must_be_image=isinstance(feature, Image))
    if isinstance(feature, Mapping):
        parts = {name: _cleaned(value[name], inner) for name, inner in feature.items()}
        return {name: part for name, (part, _) in parts.items()}, sum(count for _, count in parts.values())
    if (inner := getattr(feature, "feature", None)) is not None:
        found = [_cleaned(one, inner) for one in value]
        return [one for one, _ in found], sum(count for _, count in found)
    return value, 0


def _cleaned_file(value: dict[str, Any], must_be_image: bool) -> tuple[dict[str, Any], int]:
    content, path = value["bytes"], value["path"]
    path = base_name(path) if isinstance(path, str) else path
    if not isinstance(content, bytes):
        return {"bytes": content, "path": path}, 0
    try:
        clean = without_metadata(content)
    except ValueError:
        if must_be_image:
            raise
        clean = content
    return {"bytes": clean, "path": path}, int(clean != content)


def _refuse_paths(cells: pa.ChunkedArray, feature: Any, place: str, rows: list[int]) -> None:
    """Raise `ValueError` for a string that names a file of this machine, or one outside the folder."""
    if _holds_files(feature) or not _has_strings(cells.type):
        return
    for row, text in _suspects(cells, rows):
        inside = ".." not in re.split(r"[\\/]", text)
        there = os.path.exists(text) or text.lower().endswith(IMAGES)
        if there and (is_absolute(text) or not inside):
            raise ValueError(
                f"{place}, row {row}: {base_name(text)!r} is given with its path on this machine, or with "
                "one that leads out of the folder, and would be published so. Take the column out "
                "(remove_columns), or make it paths inside the folder, or an Image (cast_column)."
            )


def _has_strings(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_has_strings(kind.field(number).type) for number in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _has_strings(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _suspects(cells: pa.ChunkedArray, rows: list[int]) -> Iterator[tuple[int, str]]:
    """Row and text of every string that looks like a path."""
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        for number in pc.indices_nonzero(pc.match_substring_regex(cells, _SUSPECT).fill_null(False)):
            yield rows[number.as_py()], cells[number.as_py()].as_py()
        return
    for row, value in zip(rows, cells.to_pylist(), strict=True):
        yield from ((row, text) for text in _texts(value) if re.search(_SUSPECT, text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)
