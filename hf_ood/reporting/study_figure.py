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
CURVES_HEIGHT = 4.0


def draw_study(summary: StudySummary) -> Figure:
    """Points with 95 % intervals, one panel a measure, the report's figure as a diamond; below them the
    curves, over the whole width."""
    columns = min(len(summary.measures), COLUMNS)
    lines = math.ceil(len(summary.measures) / columns)
    heights = [max(1.2 + 0.34 * len(summary.rows), 2.6)] * lines + [CURVES_HEIGHT] * bool(summary.curves)
    width = WIDTH if summary.curves else min(4.6 * columns, WIDTH)
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    colors = arm_colors([plot_text(row.arm) for row in summary.rows])
    for number, measure in enumerate(summary.measures):
        panel = figure.add_subplot(grid[divmod(number, columns)])
        _draw_intervals(panel, summary, measure, colors)
        if number % columns:
            panel.set_yticklabels([])
    if summary.curves:
        _draw_curves(figure.add_subplot(grid[lines, :]), summary, colors)
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
    for curve in summary.validation_curves:
        means = [value.mean for value in curve.values]
        axes.plot(curve.epochs, means, "--", linewidth=1, color=colors[curve.arm])
    if any(curve.epochs for curve in summary.validation_curves):
        axes.plot([], [], "--", linewidth=1, color="#444444", label="validation, training environments")
    bottom, top = axes.get_ybound()
    axes.set_ybound(max(bottom, -2), min(top, 102))
    axes.set(xlabel="epoch", ylabel="test accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
