"""Columns of a `datasets.Dataset` as ids and names, and as images."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Image
from PIL import Image as PILImage
from torch import Tensor

FILES = (
    "A column that names image files counts when they are there: beside the table or in the working folder."
)


def require_columns(dataset: Dataset, *columns: str) -> None:
    """Raise `ValueError` naming the columns there are when one is missing."""
    for column in columns:
        if column not in dataset.column_names:
            near = difflib.get_close_matches(column, dataset.column_names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " Name the right one."
            there = ", ".join(dataset.column_names)
            raise ValueError(f"The dataset has no column {column!r}; its columns are {there}.{hint}")


def find_image_column(dataset: Dataset, name: str | None = None) -> str:
    """The column `name`, or the only column of images there is. Raises `ValueError` with the way out."""
    images = [column for column, feature in dataset.features.items() if isinstance(feature, Image)]
    if name is not None:
        require_columns(dataset, name)
        if name not in images:
            raise ValueError(f"Column {name!r} must be an Image, not {dataset.features[name]}. {FILES}")
        return name
    if len(images) != 1:
        raise ValueError(
            f"Name the image column: the dataset has {len(images)} of them ({', '.join(images) or 'none'}) "
            f"among {', '.join(dataset.column_names)}. {FILES}"
        )
    return images[0]


def column_names(dataset: Dataset, column: str) -> list[str]:
    """What the ids of `column` stand for: a ClassLabel's names, or the sorted values."""
    feature = dataset.features[column]
    if isinstance(feature, ClassLabel):
        return list(feature.names)
    values = dataset.unique(column)
    if any(value is None or value != value for value in values):
        raise ValueError(f"Column {column!r} has rows without a value: leave them out (dataset.filter).")
    return [str(value) for value in sorted(values)]


def column_ids(dataset: Dataset, column: str) -> np.ndarray:
    """The column as positions in `column_names`, int64 [N]."""
    values = dataset[column][:]
    if not isinstance(dataset.features[column], ClassLabel):
        position = {name: number for number, name in enumerate(column_names(dataset, column))}
        values = [position[str(value)] for value in values]
    return np.asarray(values, dtype=np.int64)


def stack_images(images: Sequence[PILImage.Image]) -> Tensor:
    """RGB images of one size -> uint8 [B, 3, H, W]. Raises `ValueError` for several sizes."""
    arrays = [np.asarray(image) for image in images]
    sizes = {array.shape for array in arrays}
    if len(sizes) > 1:
        raise ValueError(
            f"Images must have one size to be stacked, found {sorted(sizes)[:3]}; resize them first, "
            "or train a model that has an image processor."
        )
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
