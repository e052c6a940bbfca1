"""Columns that hold images or sounds in another shape, names of files or bytes, as columns of those."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pyarrow.compute as pc
from datasets import Audio, Dataset, DatasetDict, Image, Value, config
from huggingface_hub import constants
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from .folders import IMAGES, SOUNDS
from .origins import rows_told, where

OUTSIDE = "a table names files beside it, or by their whole path; others only with --allow_outside_files"


def open_images(dataset: DatasetDict, folder: Path | None, outside: bool = False) -> DatasetDict:
    """Columns of names of image files, and of bytes of images, become columns of images, which are decoded
    when they are read; columns of names of sound files those of sounds, which are not decoded.

    `folder`: where the table lies, from which relative names count; None: names of files are left alone, as
    those of a Hub data set. `outside`: names with `..`, addresses (https://...) and names from the working
    folder count too. A column of which no file is there stays as it is. Raises `ValueError` where only some
    are there.
    """
    return DatasetDict({split: _open(data, folder, outside) for split, data in dataset.items()})


def _open(data: Dataset, folder: Path | None, outside: bool) -> Dataset:
    opened, errors = 0, []
    for column, feature in list(data.features.items()):
        if _holds_images(data, column, feature):
            data = data.cast_column(column, Image())
            opened += 1
        elif folder is not None and isinstance(feature, Value) and "string" in feature.dtype:
            kind = media_kind(data.with_format(None)[column][:])
            if kind is None:
                continue
            try:
                files = located(data, column, folder, outside)
            except ValueError as error:
                errors.append(error)
                continue
            if files is not None:
                origins = data.info.download_checksums
                data = data.remove_columns(column).add_column(column, files).cast_column(column, kind)
                data.info.download_checksums = origins
                opened += 1
    if errors and not opened:
        raise errors[0]
    return data


def _holds_images(data: Dataset, column: str, feature: Any) -> bool:
    """Whether the cells are bytes of images, as they are or beside a path, without a name for what they
    are."""
    is_struct = isinstance(feature, dict) and {*feature} == {"bytes", "path"}
    if not is_struct and not (isinstance(feature, Value) and "binary" in feature.dtype):
        return False
    for cell in data.select_columns([column]).take(min(len(data), 10))[column]:
        content = cell and cell["bytes"] if is_struct else cell
        if content:
            try:
                PILImage.open(io.BytesIO(content))
            except UnidentifiedImageError:
                return False
            except Exception:  # a damaged image is reported with its row when it is decoded
                return True
            return True
    return False


def located(data: Dataset, column: str, folder: Path, outside: bool) -> list[str | None] | None:
    """The file that each cell of a column of names of files names; None where none of them are there.

    Raises `ValueError` where some are there and others are not, naming the rows.
    """
    names = data.with_format(None)[column][:]
    named = [name for name in names if name is not None]
    files = [None if name is None else locate(name, folder, outside) for name in names]
    lost = [row for row, name in enumerate(names) if name is not None and files[row] is None]
    if len(lost) == len(named):
        return None
    if lost:
        kinds = {names[row] for row in lost}
        what = "sound" if isinstance(media_kind(names), Audio) else "image"
        raise ValueError(
            f"{len(kinds)} of the {len({*named})} {what} files of column {column!r} are not there, the "
            f"first is {names[lost[0]]} ({rows_told(data, lost)}): {why_not(names[lost[0]], folder)} Correct "
            "the cell, or leave the row out."
        )
    return files


def media_kind(cells: Sequence[str | None]) -> Image | Audio | None:
    """What most of the cells are names of files of; None: of nothing that is known."""
    names = [name.lower() for name in cells if name is not None]
    kinds: list[tuple[tuple[str, ...], Image | Audio]] = [(IMAGES, Image()), (SOUNDS, Audio(decode=False))]
    for suffixes, kind in kinds:
        if sum(name.endswith(suffixes) for name in names) > len(names) / 2:
            return kind
    return None


def is_image_name(name: str) -> bool:
    return name.lower().endswith(IMAGES)


def locate(name: str, folder: Path, outside: bool) -> str | None:
    """Where the file is, if it may be named: beside the table or below, or by its whole path."""
    if "://" in name:
        return name if outside else None
    written = [name, name.replace("\\", "/")] if "\\" in name else [name]
    for one in written:
        if is_outside(one) and not outside:
            continue
        places = [folder / one, *([Path(one)] if outside else [])]
        for place in places:
            if place.is_file():
                return str(place)
    return None


def is_outside(name: str) -> bool:
    """Whether a relative name leads out of its folder."""
    return os.path.normpath(name).split(os.sep)[0] == ".."


def why_not(name: str, folder: Path) -> str:
    """Why `locate` finds nothing by this name."""
    if "://" in name:
        return f"it is an address: {OUTSIDE}."
    if is_outside(name.replace("\\", "/")):
        return f"it leads out of the table's folder: {OUTSIDE}."
    if PureWindowsPath(name).drive or PurePosixPath(name).is_absolute():
        return "there is no such file."
    if Path(name).is_file():
        return f"it is in the working folder, and not beside the table: {OUTSIDE}."
    if media_kind([name]) is None:
        return "it names no image or sound file."
    return "looked for beside the table."


def not_an_image(data: Dataset, column: str) -> str:
    """Why a column of text is no column of images: its first cell, and what would make it one."""
    cell = next((one for one in data.with_format(None)[column] if one is not None), None)
    if not isinstance(cell, str):
        return ""
    told = f" {where(data, 0)} holds {cell!r}"
    return (
        f"{told}: {why_not(cell, Path('.'))}"
        if is_image_name(cell)
        else f"{told}, which names no image file."
    )


def refuse_outside(dataset: DatasetDict, folders: Sequence[Path]) -> DatasetDict:
    """The same. Raises `ValueError` where an image or a sound is a file that lies neither in one of the
    folders nor where downloads are kept: a data set of someone else's may not open files of this machine."""
    kept = [
        *folders,
        Path(config.HF_CACHE_HOME),
        Path(config.HF_DATASETS_CACHE),
        Path(constants.HF_HUB_CACHE),
    ]
    homes = [home.expanduser().resolve() for home in kept]
    for split, data in dataset.items():
        for column, feature in data.features.items():
            if not isinstance(feature, Image | Audio):
                continue
            cells = data.data.column(column)
            outer = pc.and_(
                pc.is_null(pc.struct_field(cells, "bytes")), pc.is_valid(pc.struct_field(cells, "path"))
            )
            for path in pc.unique(pc.filter(pc.struct_field(cells, "path"), outer)).to_pylist():
                if "://" not in path and not any(Path(path).resolve().is_relative_to(home) for home in homes):
                    raise ValueError(
                        f"Column {column!r} of the split {split} names the file {path}, which is no part of "
                        "the data set: it is not opened."
                    )
    return dataset


def opened_files(data: Dataset) -> Sequence[str]:
    """The paths of the files in all columns of images and sounds."""
    found: list[str] = []
    for column, feature in data.features.items():
        if isinstance(feature, Image | Audio):
            cells = (
                data.with_format(None)
                .select_columns([column])
                .cast_column(column, type(feature)(decode=False))[column]
            )
            found += [cell["path"] for cell in cells if cell and cell["path"]]
    return found
