"""A study at a glance: every arm's interval, the report's own figure, and the curves over epochs."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .colors import arm_colors
from .summaries import ERRORS, StudySummary


def draw_study(summary: StudySummary) -> Figure:
    """Points with 95 % intervals, one panel a measure, the report's figure as a diamond; curves last."""
    panels = len(summary.measures) + bool(summary.curves)
    height = max(1.2 + 0.34 * len(summary.rows), 3.2)
    figure = Figure(figsize=(4.6 * panels, height), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    colors = arm_colors([row.arm for row in summary.rows])
    for number, (panel, measure) in enumerate(zip(axes, summary.measures, strict=False)):
        _draw_intervals(panel, summary, measure, colors)
        if number:
            panel.set_yticklabels([])
    if summary.curves:
        _draw_curves(axes[-1], summary, colors)
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
    axes.set_yticks(range(len(summary.rows)), [row.arm for row in summary.rows])
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
        axes.plot(curve.epochs, means, marker="o", markersize=3, color=color, label=curve.arm)
        if all(value.n > 1 for value in curve.values):
            low = [value.mean - value.half_width for value in curve.values]
            high = [value.mean + value.half_width for value in curve.values]
            axes.fill_between(curve.epochs, low, high, color=color, alpha=0.12, linewidth=0)
    bottom, top = axes.get_ybound()
    axes.set_ybound(max(bottom, -2), min(top, 102))
    axes.set(xlabel="epoch", ylabel="test accuracy (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
