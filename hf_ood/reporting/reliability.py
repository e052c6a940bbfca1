"""Reliability diagrams, one for each environment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from ..evaluation.metrics import EnvironmentReport
from .panels import columns_of, panel_title, panels

RELIABILITY_FILE = "reliability.png"
FEW = 10  # samples: the accuracy of a bin with fewer may be chance, and is drawn faint
ACCURACY, GAP, COUNT = "#56B4E9", "#D55E00", "#666666"
FAINT = 0.25
Bins = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw_reliability(
    bins: Mapping[str, Bins], report: EnvironmentReport, headings: Mapping[str, str] | None = None
) -> Figure:
    """Accuracy against confidence in each bin, and below it the number of samples on a logarithmic axis.

    `bins`: count, correct and confidence sums [15] of each environment (see `calibration_bins`). On the
    diagonal confidence is deserved; red shows by how much it is not. Bins of fewer than `FEW` samples are
    faint. `headings`: of the panels, by environment; default: their names.
    """
    figure, grid = panels(len(bins), size=2.9, text=1.0)
    columns = columns_of(len(bins))
    figure.set_figheight(figure.get_figheight() + (0.4 if columns > 1 else 0.8))  # the legend above
    for number, (axes, (name, own)) in enumerate(zip(grid, bins.items(), strict=True)):
        first = number % columns == 0
        _draw_accuracy(axes, own, first)
        strip = axes.inset_axes((0, -0.28, 1, 0.2), sharex=axes)
        _draw_counts(strip, own, first)
        if number + columns >= len(bins):
            strip.set_xlabel("confidence", fontsize=8)
        title = panel_title((headings or {}).get(name, name), report[name])
        axes.set_title(f"{title}, ECE {report[name]['ece']:.1%}", fontsize=8)
    keys = [
        Patch(color=ACCURACY, label="accuracy"),
        Patch(color=GAP, label="miscalibration"),
        Patch(color=ACCURACY, alpha=FAINT, label=f"fewer than {FEW} samples"),
        Patch(color=COUNT, label="samples"),
    ]
    figure.legend(
        handles=keys,
        loc="outside upper center",
        ncols=4 if columns > 1 else 2,
        fontsize=8,
        frameon=False,
    )
    return figure


def _draw_accuracy(axes: Axes, bins: Bins, labelled: bool) -> None:
    count, right, confident = bins
    width = 1 / len(count)
    for chosen, alpha in ((count >= FEW, 1.0), ((count > 0) & (count < FEW), FAINT)):
        centres = (np.arange(len(count)) + 0.5)[chosen] * width
        accuracy, confidence = right[chosen] / count[chosen], confident[chosen] / count[chosen]
        axes.bar(centres, accuracy, width * 0.9, color=ACCURACY, alpha=alpha)
        axes.bar(centres, confidence - accuracy, width * 0.5, accuracy, color=GAP, alpha=alpha)
    axes.plot([0, 1], [0, 1], "--", color="black", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.tick_params(labelsize=7, labelleft=labelled, labelbottom=False)
    if labelled:
        axes.set_ylabel("accuracy", fontsize=8)


def _draw_counts(axes: Axes, bins: Bins, labelled: bool) -> None:
    count = bins[0]
    width = 1 / len(count)
    axes.bar((np.arange(len(count)) + 0.5) * width, count, width * 0.9, color=COUNT)
    top = 10 ** np.ceil(np.log10(max(count.max(), 10)))
    axes.set_yscale("log")
    axes.set(xlim=(0, 1), ylim=(0.5, 1.5 * top), yticks=[1, top])
    axes.set_yticklabels(["1", f"{top:,.0f}"])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=7)
    if labelled:
        axes.set_ylabel("samples", fontsize=8)
