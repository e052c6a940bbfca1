"""What an autoencoder of content and style has learned: reconstructions, and contents in other styles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from transformers import PreTrainedModel

from ..data import EnvironmentDataset

RECONSTRUCTIONS_FILE = "reconstructions.png"


@runtime_checkable
class Reconstructs(Protocol):
    """A network that decodes images [B, C, H, W] in 0..1 from their codes."""

    def reconstruct(self, pixel_values: Tensor) -> Tensor: ...

    def swap_styles(self, content_images: Tensor, style_images: Tensor) -> Tensor: ...


def draw_reconstructions(
    model: Reconstructs, splits: Mapping[str, EnvironmentDataset], count: int = 6
) -> Figure:
    """For each split: images beside their reconstructions, and `count` contents x `count` styles.

    The grid's first column and row are the images that content and style come from.
    """
    figure = Figure(figsize=(9, 4.2 * len(splits)), layout="constrained")
    for axes, (split, dataset) in zip(
        figure.subplots(len(splits), 2, squeeze=False), splits.items(), strict=True
    ):
        images = first_images(dataset, 2 * count)
        pairs = torch.stack([images, reconstructed(model, images)], dim=1)
        axes[0].imshow(_tile(pairs.unflatten(0, (count, 2)).flatten(1, 2)), interpolation="nearest")
        axes[0].set_title(f"{split}: image, reconstruction")
        axes[1].imshow(_tile(style_grid(model, images[:count], images[count:])), interpolation="nearest")
        axes[1].set_title(f"{split}: content of the row, style of the column")
    for axes in figure.axes:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure


def first_images(dataset: EnvironmentDataset, count: int) -> Tensor:
    """The first images of each environment in turn -> float [count, 3, H, W] in 0..1."""
    members = [
        (dataset.environments == number).nonzero()[:count, 0] for number in dataset.environments.unique()
    ]
    rows = torch.stack(members, dim=1).flatten()[:count]
    return dataset.with_transform(None).__getitems__(rows.tolist())["pixel_values"].float() / 255


def reconstructed(model: Reconstructs, images: Tensor) -> Tensor:
    return model.reconstruct(images.to(_device(model))).cpu()


def style_grid(model: Reconstructs, contents: Tensor, styles: Tensor) -> Tensor:
    """Images [R, 3, H, W] and [C, 3, H, W] -> [R + 1, C + 1, 3, H, W]: originals, then all combinations."""
    content = contents.repeat_interleave(len(styles), 0).to(_device(model))
    style = styles.repeat(len(contents), 1, 1, 1).to(_device(model))
    swapped = model.swap_styles(content, style).cpu().unflatten(0, (len(contents), len(styles)))
    heading = torch.cat([torch.ones_like(styles[:1]), styles])
    return torch.cat([heading[None], torch.cat([contents[:, None], swapped], dim=1)])


def _device(model: Reconstructs) -> torch.device:
    return model.device if isinstance(model, PreTrainedModel) else torch.device("cpu")


def _tile(images: Tensor) -> np.ndarray:
    """Images [R, C, 3, H, W] -> one framed picture [height, width, 3]."""
    framed = torch.nn.functional.pad(images, (1, 1, 1, 1), value=0.6)
    return torch.cat([torch.cat(list(row), dim=2) for row in framed], dim=1).permute(1, 2, 0).numpy()
