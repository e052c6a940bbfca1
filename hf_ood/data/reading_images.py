"""Images out of files: 8-bit RGB, or an error that says which file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from datasets import Image as ImageFeature
from PIL import Image

DEEP = ("I", "F")  # more than 8 bits a pixel, which PIL cuts off above 255


def as_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB. Raises `ValueError` for pixels of more than 8 bits, whose window is the user's."""
    if image.mode.startswith(DEEP):
        raise ValueError(
            f"An image has more than 8 bits a pixel (mode {image.mode}): all above 255 would turn white. "
            "Choose its window and save it with 8 bits first."
        )
    return image.convert("RGB")


def read_images(rows: Dataset, index: Sequence[int]) -> dict[str, list[Any]]:
    """The rows at `index`, images decoded. Raises `ValueError` naming one that cannot be."""
    try:
        return rows[index]
    except OSError as error:
        raise ValueError(unreadable(rows, index) or str(error)) from error


def unreadable(rows: Dataset, index: Sequence[int]) -> str | None:
    """Which is the first of these rows that has an image that cannot be decoded, and why."""
    images = [column for column, feature in rows.features.items() if isinstance(feature, ImageFeature)]
    for row in index:
        for column in images:
            try:
                rows.select_columns(column)[row]
            except OSError as error:
                cell = rows.select_columns(column).cast_column(column, ImageFeature(decode=False))[row]
                file = cell[column]["path"] or f"in column {column!r}"
                return (
                    f"The image of row {row}, {file}, cannot be read ({error}): leave it out, or repair it."
                )
    return None
