"""Diversity and correlation shift of several pairs of splits, in one plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from .colors import COLORS

REPORT_FILE = "shift.json"
SHIFT_FILE = "shift.png"
MARKERS = "osD^vP*X"


def draw_shifts(shifts: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A point with its 95 % intervals for each entry (`Shift.to_dict()`), and in grey what it reads without
    shift; no point of the estimator `classifier` can lie above the dashed line."""
    figure = Figure(figsize=(7.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for number, (name, shift) in enumerate(shifts.items()):
        found = [shift["measures"][measure] for measure in ("diversity", "correlation")]
        x, y = (entry["value"] for entry in found)
        errors = [
            [[max(entry["value"] - entry["low"], 0)], [max(entry["high"] - entry["value"], 0)]]
            for entry in found
        ]
        axes.errorbar(
            x,
            y,
            xerr=errors[0],
            yerr=errors[1],
            fmt=MARKERS[number % len(MARKERS)],
            color=COLORS[number % len(COLORS)],
            markeredgecolor="black",
            markeredgewidth=0.5,
            capsize=2,
            label=f"{name}: {x:.2f}, {y:.2f}",
        )
        axes.plot(found[0]["null"], found[1]["null"], "+", color="grey", zorder=1)
    axes.plot([], [], "+", color="grey", label="the same rows without shift")
    if all(shift["estimator"] == "classifier" for shift in shifts.values()):
        axes.plot([0, 1], [1, 0], "--", color="grey", linewidth=1, label="nothing in common")
    axes.set(xlabel="diversity shift", ylabel="correlation shift", xlim=(-0.02, 1.03), ylim=(-0.02, 1.03))
    axes.set_box_aspect(1)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8, title="diversity, correlation", frameon=False)
    return figure
