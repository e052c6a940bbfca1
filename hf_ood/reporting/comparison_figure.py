"""A comparison as a picture: every seed, the intervals, and the differences beside what would not matter."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation.comparison import IN_DOMAIN, MEAN, SUMMARY, WORST, Comparison
from ..names import plot_text
from .colors import arm_colors
from .comparison_table import MOST_COLUMNS, unit


def draw_comparison(comparison: Comparison) -> Figure:
    """Left: each row's mean, interval and seeds in every held-out environment, and summed up. Right: the
    differences to the first row (where there are any), the margin shaded."""
    differences = comparison.differences[comparison.differences["n"] > 0]
    panels = 1 if differences.empty else 2
    columns = _columns(comparison)
    width = 2.2 + 0.9 * len(columns) * max(1.0, len(comparison.rows) / 4)
    ratios = [width, 4.2][:panels]
    height = max(3.6, 1.4 + 0.45 * len(comparison.rows))
    figure = Figure(figsize=(sum(ratios), height), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False, width_ratios=ratios)[0]
    colors = arm_colors(list(comparison.rows))
    _draw_values(axes[0], comparison, columns, colors)
    if panels == 2:
        _draw_differences(axes[1], comparison, colors)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(len(colors), 4),
        fontsize=8,
    )
    return figure


def _columns(comparison: Comparison) -> list[tuple[str, str]]:
    held_out = comparison.held_out
    columns = [("test", name) for name in held_out] if len(held_out) <= MOST_COLUMNS else []
    columns += [(SUMMARY, name) for name in ((MEAN, WORST) if len(held_out) > 1 else ())]
    there = set(comparison.intervals["environment"][comparison.intervals["split"] == SUMMARY])
    return columns + ([(SUMMARY, IN_DOMAIN)] if IN_DOMAIN in there else [])


def _draw_values(
    axes: Axes, comparison: Comparison, columns: list[tuple[str, str]], colors: dict[str, str]
) -> None:
    step = 0.7 / len(comparison.rows)
    keys = ["row", "split", "environment"]
    intervals = comparison.intervals.set_index(keys)
    seeds = comparison.values.groupby(keys)["value"]
    for number, row in enumerate(comparison.rows):
        for position, column in enumerate(columns):
            if (row, *column) not in intervals.index:
                continue
            found = intervals.loc[(row, *column)]
            x = position + (number - (len(comparison.rows) - 1) / 2) * step
            values = seeds.get_group((row, *column))
            axes.plot([x] * len(values), values, ".", color=colors[row], alpha=0.35, markersize=5)
            axes.errorbar(
                x,
                found["mean"],
                yerr=found["half_width"] if found["n"] > 1 else None,
                fmt="o",
                color=colors[row],
                capsize=3,
                label=plot_text(row) if position == 0 else None,
            )
    axes.set_xticks(range(len(columns)), [_wrapped(plot_text(name)) for _, name in columns], fontsize=8)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylabel(unit(comparison))
    axes.grid(axis="y", alpha=0.3)


def _wrapped(name: str) -> str:
    return name.replace("_", "\n").replace(" ", "\n").replace(",", ",\n")


def _draw_differences(axes: Axes, comparison: Comparison, colors: dict[str, str]) -> None:
    rows = list(comparison.rows)[1:]
    if comparison.margin is not None:
        axes.axvspan(-comparison.margin, comparison.margin, color="#dddddd", zorder=0)
    axes.axvline(0, color="black", linewidth=0.8)
    offsets = {MEAN: -0.12, WORST: 0.12} if WORST in set(comparison.differences["of"]) else {MEAN: 0.0}
    for _, line in comparison.differences[comparison.differences["n"] > 0].iterrows():
        axes.errorbar(
            line["difference"],
            rows.index(line["row"]) + offsets[line["of"]],
            xerr=line["half_width"] if line["n"] > 1 else None,
            fmt="o" if line["of"] == MEAN else "s",
            color=colors[line["row"]],
            fillstyle="full" if line["of"] == MEAN else "none",
            capsize=3,
        )
    axes.set_yticks(range(len(rows)), list(map(plot_text, rows)), fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    which = "mean (dots) and worst (squares)" if WORST in offsets else "difference"
    points = "points" if comparison.in_percent else unit(comparison)
    axes.set_xlabel(f"{which} minus {plot_text(comparison.first)} ({points})", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
