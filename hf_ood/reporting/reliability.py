"""Reliability diagrams, one for each environment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ..evaluation.metrics import EnvironmentReport
from .panels import COLUMNS, chosen_environments, panel_title, panels

RELIABILITY_FILE = "reliability.png"


def draw_reliability(
    bins: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], report: EnvironmentReport
) -> Figure:
    """Accuracy against confidence in each bin; `bins`: count, correct and confidence sums [15] (see
    `calibration_bins`).

    On the diagonal confidence is deserved; red shows by how much it is not. Dark: the bin's share of the
    samples.
    """
    chosen = chosen_environments(report)
    figure, grid = panels(len(chosen))
    for number, (axes, name) in enumerate(zip(grid, chosen, strict=True)):
        count, right, confident = bins[name]
        filled = count > 0
        width = 1 / len(count)
        centres = (np.arange(len(count)) + 0.5)[filled] * width
        accuracy, confidence = right[filled] / count[filled], confident[filled] / count[filled]
        share = count[filled] / count.sum()
        axes.bar(centres, accuracy, width * 0.9, color="#56B4E9", label="accuracy")
        gap = confidence - accuracy
        axes.bar(centres, gap, width * 0.5, accuracy, color="#D55E00", label="miscalibration")
        axes.bar(centres, share, width * 0.2, color="#333333", label="share of samples")
        axes.plot([0, 1], [0, 1], "--", color="black", linewidth=1)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.tick_params(labelsize=7, labelleft=number % COLUMNS == 0)
        title = f"{panel_title(name, report[name])}, ECE {report[name]['ece']:.1%}"
        axes.set_title(title, fontsize=9)
    grid[0].legend(fontsize=7, loc="upper left")
    figure.supxlabel("confidence", fontsize=9)
    figure.supylabel("accuracy", fontsize=9)
    return figure
