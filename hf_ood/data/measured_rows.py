"""Rows that a trained model is run over: which split, which columns, and what the table said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Image, Value

from ..errors import unknown_name
from .built_in import read_built_in
from .columns import find_audio_column, find_image_column, require_columns
from .features import takes_features
from .image_paths import open_images
from .origins import Origin, with_origins
from .processors import takes_audio, takes_text
from .reading import Named, Reading, read_dataset
from .split_names import canonical_split
from .tables import table_format, written_cells


def choose_split(splits: Sequence[str], wanted: str | None) -> str:
    """The split that is wanted, by its name or what it means (`val` is validation); by default the only one,
    or `test`.

    Raises `ValueError` with the splits there are for one that is not there, and when several are and none of
    them is `test`.
    """
    if wanted is not None:
        meant = [split for split in splits if canonical_split(split) == (canonical_split(wanted) or wanted)]
        if wanted not in splits and len(meant) == 1:
            return meant[0]
        if wanted not in splits:
            raise ValueError(unknown_name("split", wanted, list(splits)))
        return wanted
    if len(splits) == 1:
        return splits[0]
    if tested := [split for split in splits if canonical_split(split) == "test"]:
        return tested[0]
    raise ValueError(f"The dataset has the splits {', '.join(splits)}: name one of them (--split).")


def input_columns(
    rows: Dataset,
    processor: Any,
    image: str | None = None,
    text: Sequence[str] | None = None,
    audio: str | None = None,
) -> list[str]:
    """The columns that a model with this processor reads: one of images, one of sounds, one of texts, a
    sentence pair, or its features.

    Default: the only column of images, of sounds, or of strings. Raises `ValueError` with the columns there
    are.
    """
    if takes_audio(processor):
        if text or image:
            raise ValueError("The model classifies sounds: leave --text_column and --image_column out.")
        return [find_audio_column(rows, audio)]
    if audio:
        raise ValueError("The model classifies no sounds: leave --audio_column out.")
    if takes_features(processor):
        if text or image:
            raise ValueError("The model reads features: leave --text_column and --image_column out.")
        require_columns(rows, *processor.columns)
        return list(processor.columns)
    if not takes_text(processor):
        if text:
            raise ValueError("The model classifies images: leave --text_column out.")
        return [find_image_column(rows, image)]
    if text:
        require_columns(rows, *text)
        return list(text)
    strings = [
        name
        for name, feature in rows.features.items()
        if isinstance(feature, Value) and feature.dtype in ("string", "large_string")
    ]
    if len(strings) == 1:
        return strings
    raise ValueError(
        f"The model classifies texts: name --text_column; the table has the columns of strings "
        f"{', '.join(strings) or '(none)'} among {', '.join(rows.column_names)}."
    )


def read_rows(
    name: str, configuration: str | None = None, split: str | None = None, reading: Reading | None = None
) -> tuple[Dataset, pd.DataFrame]:
    """One split of a dataset, images to be opened, and its own columns as a table, row by row.

    A .csv, .tsv or .xlsx file is read as strings, exactly as they stand there; an empty cell is
    nothing to predict from. Images and sounds are shown by the names of
    their files (as the table writes them, or relative to the folder), classes by their names. Raises
    `ValueError` as `choose_split` does and for no rows, `FileNotFoundError` for a file that is not there.
    """
    path, reading = Path(name), reading or Reading()
    if table_format(path) in ("csv", "tsv", "xlsx") and path.is_file():
        cells = written_cells(path, reading.table)
        if split not in (None, "train"):
            raise ValueError(unknown_name("split", str(split), ["train"]))
        own = cells.to_pandas().astype(object)
        _require_rows(len(own), name)
        table = Dataset.from_dict(
            {column: [cell or None for cell in cells[column].to_pylist()] for column in cells.column_names},
            Features(dict.fromkeys(cells.column_names, Value("string"))),
        )
        table = with_origins(table, [Origin(path.name, len(table))])
        return open_images(DatasetDict(train=table), path.parent, reading.allow_outside_files)["train"], own
    loaded = read_built_in(name, configuration) or read_dataset(name, configuration, reading, Named())
    chosen = choose_split([str(known) for known in loaded], split)
    rows = loaded[chosen]
    _require_rows(len(rows), f"Split {chosen} of {name}")
    return rows, own_columns(rows, path)


def _require_rows(count: int, what: str) -> None:
    if count == 0:
        raise ValueError(f"{what} has no rows.")


def own_columns(rows: Dataset, folder: Path) -> pd.DataFrame:
    """The columns as a table: classes by name, images and sounds by the names of their files, relative to
    `folder` if they lie there, and without their folder elsewhere; one without a file is an empty cell."""
    plain = rows.with_format("arrow")
    shown: dict[str, Any] = {}
    for name, feature in rows.features.items():
        if isinstance(feature, Image | Audio):
            cells = rows.select_columns(name).cast_column(name, type(feature)(decode=False))[name]
            shown[name] = [_file_name(cell, folder) for cell in cells]
        elif isinstance(feature, ClassLabel):
            shown[name] = [
                None if number is None or number < 0 else feature.int2str(number) for number in rows[name]
            ]
        else:
            cells = plain.select_columns(name)[:]
            shown[name] = cells.to_pandas(types_mapper=pd.ArrowDtype)[name]
    return pd.DataFrame(shown)


def _file_name(cell: Mapping[str, Any] | None, folder: Path) -> str | None:
    if cell is None or not cell["path"]:
        return None
    path = Path(cell["path"])
    root = folder.resolve()
    if not path.is_absolute():
        return cell["path"]
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name
