"""Images out of files: 8-bit RGB, or an error that says which file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from PIL import Image

from .origins import shown, where

DEEP = ("I", "F")  # more than 8 bits a pixel, which PIL cuts off above 255


def as_rgb(image: Image.Image | None) -> Image.Image:
    """The image in RGB. Raises `ValueError` for none, and for pixels of more than 8 bits, whose window is the
    user's."""
    if image is None:
        raise ValueError("there is no image")
    if not isinstance(image, Image.Image):
        raise ValueError(f"{shown(image)} is no image")
    if image.mode.startswith(DEEP):
        raise ValueError(
            f"the image has more than 8 bits a pixel (mode {image.mode}): all above 255 would turn white. "
            "Choose its window and save it with 8 bits first"
        )
    return image.convert("RGB")


def read_images(rows: Dataset, index: Sequence[int]) -> dict[str, list[Any]]:
    """The rows at `index`, images decoded. Raises `ValueError` where one cannot be."""
    try:
        return rows[index]
    except Exception as error:  # Pillow raises many kinds for damaged files, SyntaxError among them
        raise ValueError(f"the image cannot be read ({error})") from error


def first_bad_image(rows: Dataset, column: str) -> str | None:
    """Which is the first row whose image cannot be read, and why; None where all can."""
    cells = rows.select_columns([column])
    for row in range(len(rows)):
        try:
            as_rgb(read_images(cells, [row])[column][0])
        except ValueError as error:
            return f"{where(rows, row)}: {error}. Leave it out, or repair it."
    return None
