"""Columns of a `datasets.Dataset` that are there, and that hold images or sounds."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import torch
from datasets import Audio, Dataset, Image
from PIL import Image as PILImage
from torch import Tensor

from .image_paths import is_image_name, not_an_image

FILES = "A column that names image files counts when they are there, beside the table or by their whole path."
FEATURES = " Numbers and categories are features, for hf-ood train --feature_columns."


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
            raise ValueError(
                f"Column {name!r} must be an Image, not {dataset.features[name]}. "
                f"{FILES}{not_an_image(dataset, name)}"
            )
        return name
    if len(images) != 1:
        told = (
            ""
            if images
            else "".join(
                not_an_image(dataset, column)
                for column in dataset.column_names
                if _names_files(dataset, column)
            )
        )
        raise ValueError(
            f"Name the image column: the dataset has {len(images)} of them ({', '.join(images) or 'none'}) "
            f"among {', '.join(dataset.column_names)}. {FILES}{told}{'' if images else FEATURES}"
        )
    return images[0]


def find_audio_column(dataset: Dataset, name: str | None = None) -> str:
    """The column `name`, or the only column of sounds there is. Raises `ValueError` with the way out."""
    sounds = [column for column, feature in dataset.features.items() if isinstance(feature, Audio)]
    if name is not None:
        require_columns(dataset, name)
    chosen = sounds if name is None else [name]
    if len(chosen) == 1 and chosen[0] in sounds:
        return chosen[0]
    told = (
        f"Column {name!r} must be an Audio, not {dataset.features[name]}."
        if name is not None
        else f"Name the audio column: the dataset has {len(sounds)} of them ({', '.join(sounds) or 'none'}) "
        f"among {', '.join(dataset.column_names)}."
    )
    raise ValueError(f"{told} {FILES.replace('image', 'sound')}")


def _names_files(dataset: Dataset, column: str) -> bool:
    cells = dataset.with_format(None).select_columns([column]).take(min(1, len(dataset)))[column]
    return any(isinstance(cell, str) and is_image_name(cell) for cell in cells)


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
