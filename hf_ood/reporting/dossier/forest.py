"""The forest plot: each environment that was left out, their mean, and where the next one will lie."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from ...evaluation.meta_analysis import MetaAnalysis
from ...names import plot_text
from .environments import Left
from .numbers import is_few

DOT, MEAN, NEXT = "#0072b2", "#000000", "#d55e00"


def draw_forest(environments: Sequence[Left], summary: MetaAnalysis | None) -> Figure:
    """Accuracies with Wilson intervals, those of few samples hollow; below them the random-effects mean with
    its interval, and the prediction interval for a new site."""
    rows = len(environments) + (2 if summary else 0)
    figure = Figure(figsize=(7.5, 0.9 + 0.33 * rows), layout="constrained")
    axes = figure.subplots()
    names = []
    for place, one in enumerate(environments):
        low, high = one.wilson
        accuracy = one.measures["accuracy"]
        fill = "none" if is_few(one.count) else DOT
        axes.plot([100 * low, 100 * high], [place, place], color=DOT, linewidth=1.5)
        axes.plot(100 * accuracy, place, "s", color=DOT, markerfacecolor=fill, markersize=6)
        names.append(f"{plot_text(one.name, 32)}  (n = {one.count:,})")
    if summary:
        place = len(environments)
        low, high = (100 * end for end in summary.interval)
        mean = 100 * summary.mean
        axes.fill([low, mean, high, mean], [place, place - 0.25, place, place + 0.25], color=MEAN)
        low, high = (100 * end for end in summary.prediction)
        axes.plot([low, high], [place + 1, place + 1], color=NEXT, linewidth=4, solid_capstyle="butt")
        axes.axvline(mean, color=MEAN, linewidth=0.8, linestyle=":")
        names += ["mean (random effects)", "a new site (prediction interval)"]
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy, %, with 95 % intervals", fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return figure
