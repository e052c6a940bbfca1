"""A table whose cells name image files, as a table of images."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset, DatasetDict, Image, Value
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

SUFFIXES = tuple(ImageFolder.EXTENSIONS)


def open_image_paths(dataset: DatasetDict, folder: Path) -> DatasetDict:
    """Columns of names of image files become columns of images, which are decoded when they are read.

    Relative names are looked for in `folder`, where the table lies, and then in the working folder; a column
    of which no file is there stays as it is. Raises `ValueError` when only some files are missing.
    """
    return DatasetDict({split: _open(data, folder) for split, data in dataset.items()})


def _open(data: Dataset, folder: Path) -> Dataset:
    for column, feature in list(data.features.items()):
        names = data[column][:] if isinstance(feature, Value) and "string" in feature.dtype else []
        named = [name for name in names if name is not None]
        if not named or not all(name.lower().endswith(SUFFIXES) for name in named):
            continue
        files = {name: _locate(name, folder) for name in named}
        lost = [name for name, file in files.items() if file is None]
        if len(lost) == len(files):
            continue
        if lost:
            raise ValueError(
                f"{len(lost)} of the {len(files)} image files of column {column!r} are not there, the first "
                f"is {lost[0]} (looked for beside the table, then in the working folder): leave these out."
            )
        opened = [None if name is None else files[name] for name in names]
        data = data.remove_columns(column).add_column(column, opened).cast_column(column, Image())
    return data


def _locate(name: str, folder: Path) -> str | None:
    """Where the file is; an address (https://...) stays as it is."""
    if "://" in name:
        return name
    return next((str(path) for path in (folder / name, Path(name)) if path.is_file()), None)
