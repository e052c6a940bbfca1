"""Diversity and correlation shift of several pairs of splits, in one plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from ..names import plot_text
from .colors import COLORS

REPORT_FILE = "shift.json"
SHIFT_FILE = "shift.png"
MARKERS = "osD^vP*X"
LARGEST, SMALLEST = 15, 6  # points; the later, the smaller: one that lies on another leaves it visible
MOST_POINTS = 12  # with a marker, a colour and a line in the legend of their own


def draw_shifts(shifts: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A point with its 95 % intervals for each entry (`Shift.to_dict()`), and in grey what it reads without
    shift; no point of the estimator `classifier` can lie above the dashed line.

    Points are half transparent and ever smaller, so that several in one place can be told apart. Of more than
    `MOST_POINTS` the farthest from no shift are named, and the others are dots.
    """
    figure = Figure(figsize=(8.4, 4.8), layout="compressed")
    axes = figure.subplots()
    named = set(sorted(shifts, key=lambda name: -sum(_measures(shifts[name])))[:MOST_POINTS])
    others = [_measures(shift) for name, shift in shifts.items() if name not in named]
    for x, y in others:
        axes.plot(x, y, ".", color="grey", alpha=0.5, zorder=1)
    for number, name in enumerate(name for name in shifts if name in named):
        size = LARGEST - (LARGEST - SMALLEST) * number / max(len(named) - 1, 1)
        _draw_point(axes, name, shifts[name], number, size)
    for shift in shifts.values():
        null = [shift["measures"][measure]["null"] for measure in ("diversity", "correlation")]
        axes.plot(*null, "+", color="grey", zorder=1)
    axes.plot([], [], "+", color="grey", label="the same rows without shift")
    if others:
        axes.plot([], [], ".", color="grey", label=f"{len(others):,} others, nearer to no shift")
    if all(shift["estimator"] == "classifier" for shift in shifts.values()):
        axes.plot([0, 1], [1, 0], "--", color="grey", linewidth=1, label="nothing in common")
    axes.set(xlabel="diversity shift", ylabel="correlation shift", xlim=(-0.04, 1.06), ylim=(-0.04, 1.06))
    axes.set_box_aspect(1)
    axes.grid(alpha=0.3)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1),
        borderaxespad=0,
        fontsize=8,
        title="diversity, correlation",
        title_fontsize=9,
        frameon=False,
        labelspacing=1.0,
    )
    return figure


def _measures(shift: Mapping[str, Any]) -> tuple[float, float]:
    return shift["measures"]["diversity"]["value"], shift["measures"]["correlation"]["value"]


def _draw_point(axes: Axes, name: str, shift: Mapping[str, Any], number: int, size: float) -> None:
    x, y = _measures(shift)
    errors = [
        [[max(found["value"] - found["low"], 0)], [max(found["high"] - found["value"], 0)]]
        for found in (shift["measures"]["diversity"], shift["measures"]["correlation"])
    ]
    color = COLORS[number % len(COLORS)]
    axes.errorbar(
        x,
        y,
        xerr=errors[0],
        yerr=errors[1],
        fmt=MARKERS[number % len(MARKERS)],
        color=color,
        ecolor=color,
        markerfacecolor=to_rgba(color, 0.25),
        markeredgecolor=color,
        markeredgewidth=1.5,
        markersize=size,
        label=f"{plot_text(name)}: {x:.2f}, {y:.2f}",
    )
