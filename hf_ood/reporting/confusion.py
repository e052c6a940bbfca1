"""Confusion matrices, one for each environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ..evaluation.metrics import EnvironmentReport
from .panels import COLUMNS, chosen_environments, panel_title, panels

CONFUSION_FILE = "confusion.png"
MOST_NUMBERS = 10  # classes up to which every cell shows its share
MOST_NAMES = 30


def draw_confusion(
    matrices: Mapping[str, np.ndarray], label_names: Sequence[str], report: EnvironmentReport
) -> Figure:
    """Counts [C, C] (true class, predicted class) of each environment, each row in per cent of its sum."""
    chosen = chosen_environments(report)
    longest = max(map(len, label_names))
    upright = longest <= 3
    size = 3.0 if len(label_names) <= MOST_NUMBERS else 4.5
    figure, grid = panels(len(chosen), size, text=0.6 if upright else 0.6 + 0.07 * longest)
    for number, (axes, name) in enumerate(zip(grid, chosen, strict=True)):
        shares = 100 * matrices[name] / np.maximum(matrices[name].sum(1, keepdims=True), 1)
        picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        if len(label_names) <= MOST_NUMBERS:
            for (row, column), share in np.ndenumerate(shares):
                color = "white" if share > 60 else "black"
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=color, fontsize=8)
        axes.set_title(panel_title(name, report[name]), fontsize=9)
        if len(label_names) <= MOST_NAMES:
            ticks = range(len(label_names))
            axes.set_xticks(ticks, label_names, fontsize=7, rotation=0 if upright else 90)
            axes.set_yticks(ticks, label_names if number % COLUMNS == 0 else [], fontsize=7)
        else:
            axes.set(xticks=[], yticks=[])
    figure.supxlabel("predicted class", fontsize=9)
    figure.supylabel("true class", fontsize=9)
    figure.colorbar(picture, ax=grid, label="% of the true class", shrink=0.8, aspect=30)
    return figure
