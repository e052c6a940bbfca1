"""A study at a glance: every arm's interval, the report's own figure, and the curves over epochs."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..names import plot_text
from .colors import arm_colors
from .summaries import ERRORS, StudySummary

COLUMNS = 3  # panels side by side that a page shows at their size
WIDTH = 10.4  # inches of a full row


def draw_study(summary: StudySummary) -> Figure:
    """Points with 95 % intervals, one panel a measure, the report's figure as a diamond; curves last."""
    panels = len(summary.measures) + bool(summary.curves)
    columns = min(panels, COLUMNS)
    lines = math.ceil(panels / columns)
    height = max(1.2 + 0.34 * len(summary.rows), 2.6)
    width = min(4.6 * columns, WIDTH)
    figure = Figure(figsize=(width, height * lines), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for unused in axes[panels:]:
        unused.remove()
    colors = arm_colors([plot_text(row.arm) for row in summary.rows])
    for number, (panel, measure) in enumerate(zip(axes, summary.measures, strict=False)):
        _draw_intervals(panel, summary, measure, colors)
        if number % columns:
            panel.set_yticklabels([])
    if summary.curves:
        _draw_curves(axes[panels - 1], summary, colors)
    return figure


def _draw_intervals(axes: Axes, summary: StudySummary, measure: str, colors: dict[str, str]) -> None:
    for position, row in enumerate(summary.rows):
        found = row.measures.get(measure)
        if found is None:
            continue
        error = found.half_width if found.n > 1 else 0
        axes.errorbar(found.mean, position, xerr=error, fmt="o", color=colors[row.arm], capsize=3)
        if measure in row.report:
            reported = row.report[measure]
            axes.plot(reported, position, "D", color="none", markeredgecolor="black", markersize=7)
    axes.set_yticks(range(len(summary.rows)), [plot_text(row.arm) for row in summary.rows])
    axes.set_ylim(len(summary.rows) - 0.5, -0.5)
    axes.set_xlabel(f"{measure.replace('_', ' ')}{'' if measure in ERRORS else ' (%)'}")
    if measure not in ERRORS:
        low, high = axes.get_xbound()
        axes.set_xbound(max(low, -2), min(high, 102))  # an interval of few seeds may leave the possible
    axes.grid(axis="x", alpha=0.3)


def _draw_curves(axes: Axes, summary: StudySummary, colors: dict[str, str]) -> None:
    for curve in summary.curves:
        color = colors[curve.arm]
        means = [value.mean for value in curve.values]
        axes.plot(curve.epochs, means, marker="o", markersize=3, color=color, label=plot_text(curve.arm))
        if all(value.n > 1 for value in curve.values):
            low = [value.mean - value.half_width for value in curve.values]
            high = [value.mean + value.half_width for value in curve.values]
            axes.fill_between(curve.epochs, low, high, color=color, alpha=0.12, linewidth=0)
    bottom, top = axes.get_ybound()
    axes.set_ybound(max(bottom, -2), min(top, 102))
    axes.set(xlabel="epoch", ylabel="test accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
