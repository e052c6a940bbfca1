"""The report's image transforms on whole batches, and how a dataset applies them while training.

All take and return float images [B, C, H, W] in 0..1, draw one decision per image, and take their randomness
from `generator`. Defaults are torchvision's where it has the same transform.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .colored_mnist.coloring import LUMA, RandomColor


class RandomGrayscale(nn.Module):
    """Replace an RGB image by its luma with probability `p`; all three channels stay."""

    def __init__(self, p: float = 0.1):
        super().__init__()
        self.p = p

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        chosen = torch.rand(len(images), 1, 1, 1, generator=generator) < self.p
        luma = torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA))[:, None]
        return torch.where(chosen.to(images.device), luma, images)


class RandomResizedCrop(nn.Module):
    """Crop a random box (area and aspect ratio drawn from `scale` and `ratio`) and resize it back,
    bilinearly."""

    def __init__(self, scale: tuple[float, float] = (0.5, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)):
        super().__init__()
        self.scale = scale
        self.ratio = ratio

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        height, width, top, left = _random_boxes(len(images), self.scale, self.ratio, generator)
        # affine_grid's units: the image spans -1..1, so a box is its half extents and its centre.
        theta = images.new_zeros(len(images), 2, 3)
        theta[:, 0, 0], theta[:, 0, 2] = width, 2 * left + width - 1
        theta[:, 1, 1], theta[:, 1, 2] = height, 2 * top + height - 1
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


class RandomErasing(nn.Module):
    """Paint a random box black with probability `p` (Zhong et al. 2017, arXiv:1708.04896)."""

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
    ):
        super().__init__()
        self.p = p
        self.scale = scale
        self.ratio = ratio

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        batch, _, rows, columns = images.shape
        height, width, top, left = _random_boxes(batch, self.scale, self.ratio, generator)
        chosen = torch.rand(batch, generator=generator) < self.p

        def inside(start: Tensor, extent: Tensor, size: int) -> Tensor:
            centres = (torch.arange(size) + 0.5) / size
            return (centres >= start[:, None]) & (centres < (start + extent)[:, None])

        box = inside(top, height, rows)[:, None, :, None] & inside(left, width, columns)[:, None, None, :]
        return images.masked_fill((box & chosen[:, None, None, None]).to(images.device), 0.0)


def _random_boxes(
    count: int, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Height, width, top and left of `count` boxes as fractions of the image, each [count]."""
    uniform = torch.rand(4, count, generator=generator)
    area = scale[0] + (scale[1] - scale[0]) * uniform[0]
    log_ratio = math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * uniform[1]
    width = (area * log_ratio.exp()).sqrt().clamp_max(1)
    height = (area / log_ratio.exp()).sqrt().clamp_max(1)
    return height, width, uniform[2] * (1 - height), uniform[3] * (1 - width)


class RandomGeometry(nn.Module):
    """Random resized crop, then random erasing: what the report's data set 2b adds to random colours."""

    def __init__(self) -> None:
        super().__init__()
        self.crop = RandomResizedCrop()
        self.erase = RandomErasing()

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.erase(self.crop(images, generator), generator)


class ReportAugmentation(nn.Module):
    """Random colours, grayscale, resized crop and erasing: the report's training set 2b, drawn anew each
    time."""

    def __init__(self) -> None:
        super().__init__()
        self.color = RandomColor()
        self.grayscale = RandomGrayscale()
        self.geometry = RandomGeometry()

    def forward(
        self,
        images: Tensor,
        digit_color: Tensor | None = None,
        background_color: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        colored = self.color(images, digit_color, background_color, generator)
        return self.geometry(self.grayscale(colored, generator), generator)


AUGMENTATIONS: dict[str, Callable[[], nn.Module]] = {
    "random_color": RandomColor,
    "report": ReportAugmentation,
}


class BatchAugmentation:
    """Applies an augmentation to a batch, as the `transform` of an `EnvironmentDataset`.

    The generator of a batch is seeded from `seed` and the batch's own indices. So processes draw differently,
    epochs draw differently (the order changes), and a resumed run draws what the uninterrupted one drew.
    """

    def __init__(self, augmentation: nn.Module, seed: int = 0):
        self.augmentation = augmentation
        self.seed = seed

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(hash((self.seed, *batch["index"].tolist())) % 2**63)
        colors = {name: batch[name] for name in ("digit_color", "background_color") if name in batch}
        if batch["pixel_values"].is_floating_point():
            raise ValueError(
                "Augmentation takes images as bytes, before they are normalised; this model's image "
                "processor cannot leave its normalisation for later. Train it without augmentation."
            )
        images = batch["pixel_values"].float() / 255
        return {**batch, "pixel_values": self.augmentation(images, **colors, generator=generator)}
