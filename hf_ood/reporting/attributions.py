"""Where a model looks, over the images: a row for each environment, right and wrong predictions."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from ..data import EnvironmentDataset, collate
from ..explain import Attributions
from ..names import plot_text
from .many_environments import standing_at

ATTRIBUTIONS_FILE = "attributions.png"
MOST_LINES = 12  # environments up to which each has a row
STRENGTH = np.linspace(0, 1, 256)
# The stronger, the less of the image shows through: the scale shows the colours as they lie over white.
HEAT = ListedColormap(np.column_stack([matplotlib.colormaps["turbo"](STRENGTH)[:, :3], 0.6 * STRENGTH]))


def draw_attributions(dataset: EnvironmentDataset, attributions: Attributions, examples: int = 5) -> Figure:
    """Heat maps over the first `examples` right and the first `examples` wrong predictions of each
    environment.

    Titles are predicted / true. Where there are fewer examples the next cell says so. Each map is relative to
    its own maximum. More than `MOST_LINES` environments are drawn from the worst to the best by accuracy.
    """
    rows = dataset.select(attributions.rows)
    right = attributions.predictions == rows.labels
    names = _shown_environments(rows, right)
    figure = Figure(figsize=(0.95 * (2 * examples) + 2.2, 1.3 * len(names) + 0.9), layout="constrained")
    widths = [*[1.0] * examples, 0.15, *[1.0] * examples]
    spec = figure.add_gridspec(len(names), len(widths), width_ratios=widths)
    halves = range(examples), range(examples + 1, 2 * examples + 1)
    for line, (name, heading) in enumerate(names.items()):
        here = rows.environments == rows.environment_names.index(name)
        for half, chosen, kind in ((halves[0], here & right, "right"), (halves[1], here & ~right, "wrong")):
            cells = [figure.add_subplot(spec[line, column]) for column in half]
            found = chosen.nonzero()[:, 0].tolist()
            for axes, row in zip(cells, found, strict=False):
                _draw_example(axes, rows, attributions, row)
            if len(found) < examples:
                _say(cells[len(found)], f"no {'other ' if found else ''}{kind}\nprediction")
            _without_frame(cells)
            if kind == "right":
                cells[0].set_ylabel(heading, rotation=0, ha="right", va="center", fontsize=8)
    figure.suptitle(
        f"Grad-CAM of the predicted class at layer {attributions.layer}\n"
        "predicted / true; right predictions on the left, wrong ones on the right",
        fontsize=8,
    )
    bar = figure.colorbar(ScalarMappable(cmap=HEAT), ax=figure.axes, fraction=0.03, pad=0.01, aspect=15)
    bar.set_label("share of the\nimage's maximum", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    return figure


def _shown_environments(rows: EnvironmentDataset, right: Tensor) -> dict[str, str]:
    """The environments that get a row, with its heading."""
    names = list(rows.environment_counts())
    if len(names) <= MOST_LINES:
        return {name: plot_text(name).replace("_", "\n", 1) for name in names}
    of = {name: rows.environments == rows.environment_names.index(name) for name in names}
    accuracies = {name: {"accuracy": right[here].float().mean().item()} for name, here in of.items()}
    places = standing_at(accuracies)
    return {name: f"{plot_text(name)}\n({place} of {len(names):,})" for name, place in places.items()}


def _draw_example(axes: Axes, rows: EnvironmentDataset, attributions: Attributions, row: int) -> None:
    heat = attributions.maps[row]
    strength = (heat / heat.max().clamp_min(torch.finfo(heat.dtype).tiny)).numpy()
    image = _shown(collate(rows.__getitems__([row]))["pixel_values"][0])
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.imshow(strength, cmap=HEAT, vmin=0, vmax=1)
    predicted, true = (
        plot_text(rows.label_names[number]) for number in (attributions.predictions[row], rows.labels[row])
    )
    between = " / " if len(predicted) + len(true) <= 16 else " /\n"
    axes.set_title(f"{predicted}{between}{true}", fontsize=7)


def _say(axes: Axes, text: str) -> None:
    axes.set_box_aspect(1)
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=7, color="#555555", transform=axes.transAxes)


def _without_frame(cells: Sequence[Axes]) -> None:
    for axes in cells:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)


def _shown(image: Tensor) -> Tensor:
    """The image in 0..1: stretched if the model's processor has moved it elsewhere."""
    low, high = image.min(), image.max()
    return image if low >= 0 and high <= 1 else (image - low) / (high - low)
