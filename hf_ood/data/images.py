"""Images as bytes of one size, and what a model's processor makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .columns import stack_images
from .environment_dataset import Batch
from .reading_images import as_rgb

SHAPING = ("do_resize", "do_center_crop", "do_pad")  # what a processor does to the size of an image


@dataclass(frozen=True)
class ImageReader:
    """Images become uint8 [B, 3, H, W]; `extras` (colours) come along as uint8 tensors.

    `processor`: resizes and crops them as the model wants; None: they have one size already. `whole`: it
    does all of its work here, and gives floats, because its steps cannot be told apart.
    """

    column: str
    processor: Any = None
    extras: tuple[str, ...] = ()
    whole: bool = False

    @property
    def columns(self) -> Sequence[str]:
        return (self.column, *self.extras)

    def __call__(self, rows: dict[str, list[Any]]) -> Batch:
        images = [as_rgb(image) for image in rows[self.column]]
        extras = {name: torch.tensor(rows[name], dtype=torch.uint8) for name in self.extras}
        return {"pixel_values": self._pixels(images), **extras}

    def _pixels(self, images: list[Image.Image]) -> Tensor:
        if self.processor is None:
            return stack_images(images)
        if self.whole:
            return self.processor(images=images, return_tensors="pt")["pixel_values"]
        return shape(self.processor, images)


@dataclass(frozen=True)
class Process:
    """A batch of bytes, or of floats in 0..1 (augmented), becomes what the processor gives.

    `shaped`: its images have the model's size already (`ImageReader`), what is left is to normalise them.
    """

    processor: Any
    shaped: bool = True

    def __call__(self, batch: Batch) -> Batch:
        images = batch["pixel_values"]
        off = {name: False for name in SHAPING if self.shaped and hasattr(self.processor, name)}
        if images.is_floating_point():
            off["do_rescale"] = False
        return {**batch, **self.processor(images=list(images), return_tensors="pt", **off)}


def shape(processor: Any, images: Sequence[Any]) -> Tensor:
    """Images at the size that the model takes, not normalised."""
    return processor(images=list(images), do_rescale=False, do_normalize=False, return_tensors="pt")[
        "pixel_values"
    ]


def is_separable(processor: Any) -> bool:
    """Whether resizing to bytes and then normalising them is what the processor does in one go."""
    random = np.random.default_rng(0)
    probe = [Image.fromarray(random.integers(0, 256, (40, 32, 3), dtype=np.uint8))]
    shaped = shape(processor, probe)
    if shaped.dtype != torch.uint8:
        return False
    whole = processor(images=probe, return_tensors="pt")["pixel_values"]
    return torch.allclose(Process(processor)({"pixel_values": shaped})["pixel_values"], whole, atol=1e-5)
