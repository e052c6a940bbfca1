"""What an autoencoder of content and style has learned: reconstructions, and contents in other styles."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..data import EnvironmentDataset

RECONSTRUCTIONS_FILE = "reconstructions.png"


@runtime_checkable
class Reconstructs(Protocol):
    """A network that decodes images [B, C, H, W] in 0..1 from their codes."""

    def reconstruct(self, pixel_values: Tensor) -> Tensor: ...

    def swap_styles(self, content_images: Tensor, style_images: Tensor) -> Tensor: ...


def draw_reconstructions(model: Reconstructs, dataset: EnvironmentDataset, count: int = 10) -> Figure:
    """Left: images above their reconstructions. Right: a row for each content, a column for each style.

    Row and column headings are the originals.
    """
    images = dataset.columns["pixel_values"][: 2 * count].float() / 255
    device = next(model.parameters()).device if isinstance(model, torch.nn.Module) else images.device
    images = images.to(device)
    contents, styles = images[:count], images[count:]
    pairs = torch.stack([images, model.reconstruct(images)]).cpu()
    swapped = model.swap_styles(
        contents.repeat_interleave(len(styles), 0), styles.repeat(len(contents), 1, 1, 1)
    )
    grid = swapped.cpu().unflatten(0, (len(contents), len(styles)))
    heading = torch.cat([torch.ones_like(images[:1]), styles]).cpu()
    rows = torch.cat([contents.cpu()[:, None], grid], dim=1)
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2.2))
    left.imshow(_tile(pairs.transpose(0, 1).unflatten(0, (-1, 2)).flatten(1, 2)), interpolation="nearest")
    left.set_title("image | reconstruction")
    right.imshow(_tile(torch.cat([heading[None], rows])), interpolation="nearest")
    right.set_title("content of the row in the style of the column")
    for axes in (left, right):
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure


def _tile(images: Tensor) -> Tensor:
    """Images [R, C, 3, H, W] -> one framed picture [height, width, 3]."""
    framed = torch.nn.functional.pad(images, (1, 1, 1, 1), value=0.6)
    return torch.cat([torch.cat(list(row), dim=2) for row in framed], dim=1).permute(1, 2, 0).numpy()
