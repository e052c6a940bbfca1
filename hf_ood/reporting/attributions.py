"""Where a model looks, over the images: a row for each environment, right and wrong predictions."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..data import EnvironmentDataset, collate
from ..explain import Attributions

ATTRIBUTIONS_FILE = "attributions.png"


def draw_attributions(dataset: EnvironmentDataset, attributions: Attributions, examples: int = 5) -> Figure:
    """Heat maps over the first `examples` right and the first `examples` wrong predictions of each
    environment.

    Titles are predicted/true. The place of an example that does not exist stays empty.
    """
    rows = dataset.select(attributions.rows)
    right = attributions.predictions == rows.labels
    names = list(rows.environment_counts())
    figure = Figure(figsize=(0.95 * (2 * examples) + 1.4, 1.15 * len(names) + 0.4), layout="constrained")
    grid = figure.subplots(len(names), 2 * examples, squeeze=False)
    figure.suptitle("predicted / true; first right, then wrong predictions", fontsize=8)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for line, name in zip(grid, names, strict=True):
        line[0].set_ylabel(name.replace("_", "\n", 1), rotation=0, ha="right", va="center", fontsize=8)
        here = rows.environments == rows.environment_names.index(name)
        for half, chosen in ((line[:examples], here & right), (line[examples:], here & ~right)):
            for axes, row in zip(half, chosen.nonzero()[:, 0].tolist(), strict=False):
                heat = attributions.maps[row]
                strength = (heat / heat.max().clamp_min(torch.finfo(heat.dtype).tiny)).numpy()
                image = _shown(collate(rows.__getitems__([row]))["pixel_values"][0])
                axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
                axes.imshow(strength, cmap="turbo", vmin=0, vmax=1, alpha=0.6 * strength)
                predicted, true = attributions.predictions[row], rows.labels[row]
                axes.set_title(f"{rows.label_names[predicted]} / {rows.label_names[true]}", fontsize=7)
    return figure


def _shown(image: Tensor) -> Tensor:
    """The image in 0..1: stretched if the model's processor has moved it elsewhere."""
    low, high = image.min(), image.max()
    return image if low >= 0 and high <= 1 else (image - low) / (high - low)
