"""Confusion matrices, one for each environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ..evaluation.metrics import EnvironmentReport
from ..names import plot_text
from .panels import columns_of, panel_title, panels

CONFUSION_FILE = "confusion.png"
MOST_NUMBERS = 10  # classes up to which every cell shows its share
MOST_NAMES = 30


def draw_confusion(
    matrices: Mapping[str, np.ndarray],
    label_names: Sequence[str],
    report: EnvironmentReport,
    headings: Mapping[str, str] | None = None,
) -> Figure:
    """Counts [C, C] (true class, predicted class) of each environment, each row in per cent of its sum; a
    class that does not occur has an empty row.

    `headings`: of the panels, by environment; default: their names.
    """
    label_names = list(map(plot_text, label_names))
    longest = max(map(len, label_names))
    upright = longest <= 3
    size = 2.6 if len(label_names) <= MOST_NUMBERS else 4.5
    figure, grid = panels(len(matrices), size, text=0.6 if upright else 0.6 + 0.07 * longest)
    columns = columns_of(len(matrices))
    for number, (axes, (name, counts)) in enumerate(zip(grid, matrices.items(), strict=True)):
        with np.errstate(invalid="ignore"):
            shares = 100 * counts / counts.sum(1, keepdims=True)  # NaN, which is not drawn, without samples
        picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        if len(label_names) <= MOST_NUMBERS:
            for (row, column), share in np.ndenumerate(shares):
                color = "white" if share > 60 else "black"
                text = "" if np.isnan(share) else f"{share:.0f}"
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
        axes.set_title(panel_title((headings or {}).get(name, name), report[name]), fontsize=8)
        if len(label_names) <= MOST_NAMES:
            ticks = range(len(label_names))
            axes.set_xticks(ticks, label_names, fontsize=7, rotation=0 if upright else 90)
            axes.set_yticks(ticks, label_names if number % columns == 0 else [], fontsize=7)
        else:
            axes.set(xticks=[], yticks=[])
        if number % columns == 0:
            axes.set_ylabel("true class", fontsize=8)
        if number + columns >= len(matrices):
            axes.set_xlabel("predicted class", fontsize=8)
    bar = figure.colorbar(picture, ax=grid, fraction=0.03, pad=0.01, aspect=30)
    bar.set_label("% of the true class", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure
