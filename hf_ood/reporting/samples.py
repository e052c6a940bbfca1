"""What the data look like: a row of images for each environment, and their edges."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..data import EnvironmentDataset, collate
from ..models.lenet.edge_structure import edge_structure
from ..models.lenet.modeling_lenet import SobelEdges
from ..names import plot_text


def draw_samples(splits: Mapping[str, EnvironmentDataset], columns: int = 12) -> Figure:
    """One row per environment of each split, the first `columns` images of it, side by side."""
    rows: list[tuple[str, Tensor]] = []
    for split, dataset in splits.items():
        for name in dataset.environment_counts():
            members = (dataset.environments == dataset.environment_names.index(name)).nonzero()[:columns, 0]
            images = _images(dataset, members)
            rows.append((f"{plot_text(name)}\n({split})", images))
    return _draw_rows(rows)


def draw_edges(dataset: EnvironmentDataset, columns: int = 12) -> Figure:
    """Images and their Sobel magnitude, the largest over the channels (report, figure 14)."""
    images = _images(dataset, torch.arange(min(columns, len(dataset))))
    edges = SobelEdges()(images).amax(1, keepdim=True).expand(-1, 3, -1, -1)
    return _draw_rows([("images", images), ("edges", edges / edges.amax((1, 2, 3), keepdim=True))])


def draw_edge_structure(dataset: EnvironmentDataset, columns: int = 12) -> Figure:
    """Images, and the components of their colour structure tensor: of 1 white, of -1 black."""
    images = _images(dataset, torch.arange(min(columns, len(dataset))))
    tensor = (edge_structure(images) + 1) / 2
    magnitude = edge_structure(images, "magnitude")
    parts = {"magnitude": magnitude, "xx": tensor[:, :1], "yy": tensor[:, 1:2], "xy": tensor[:, 2:]}
    return _draw_rows(
        [("images", images), *((name, part.expand(-1, 3, -1, -1)) for name, part in parts.items())]
    )


def _images(dataset: EnvironmentDataset, rows: Tensor) -> Tensor:
    """Float [N, 3, H, W] in 0..1."""
    return collate(dataset.inputs(rows))["pixel_values"]


def _draw_rows(rows: list[tuple[str, Tensor]]) -> Figure:
    """Each row: a name, and float images [N, 3, H, W] in 0..1."""
    figure = Figure(figsize=(10, 0.8 * len(rows)), layout="constrained")
    for axes, (name, images) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        framed = torch.nn.functional.pad(images, (1, 1, 1, 1), value=0.6)
        axes.imshow(torch.cat(list(framed), dim=2).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure
