"""Training curves of one run: loss, and accuracy per environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter

from ..data.splits import IN_DOMAIN
from ..data.targets import CLASSIFICATION, MULTI_LABEL, REGRESSION
from ..evaluation.measures import rises
from ..evaluation.metrics import task_of_report
from ..evaluation.results import TRAINED
from ..names import plot_text
from .colors import COLORS

CURVES_FILE = "curves.png"
MOST_LINES = len(COLORS)  # environments of a split up to which each has a line, and a colour, of its own
LOG_FROM = 10.0  # losses that differ by this factor are drawn on a logarithmic axis
LOSSES = {  # key in the history -> label, colour, line
    **{f"train_{measure}": ("training batches", "#000000", ":") for measure in TRAINED},
    "validation_loss": ("validation", COLORS[0], "--"),
    f"{IN_DOMAIN}_loss": ("in-domain test", COLORS[2], "-."),
    "test_loss": ("test", COLORS[1], "-"),
}
LINES = {"validation": "--", IN_DOMAIN: "-.", "test": "-"}
BANDS = {"validation": "#7B4EA3", IN_DOMAIN: "#A3744E", "test": "#444444"}  # none of the lines' colours
History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Drawn:
    """What the panels show: a measure of each environment, times `factor`, and the losses; with their
    labels."""

    measure: str
    factor: float
    label: str
    loss: str


KINDS = {
    CLASSIFICATION: Drawn("accuracy", 100, "accuracy (%)", "cross-entropy (nats)"),
    MULTI_LABEL: Drawn("macro_f1", 100, "macro-F1 (%)", "binary cross-entropy (nats)"),
    REGRESSION: Drawn("rmse", 1, "RMSE", "squared error"),
}


def drawn_of(environments: Mapping[str, Mapping[str, Any]]) -> Drawn:
    return KINDS[task_of_report(environments)]


def draw_curves(results: Mapping[str, Any], file: Path) -> None:
    """Two panels over epochs: losses; accuracies (dashed: validation, solid: test). Where samples have
    several labels, macro F1 in their place; of a regression RMSE.

    Each environment has its line. More than `MOST_LINES` of a split are drawn as their median, worst and
    quantiles at every evaluation.
    """
    figure = Figure(figsize=(10, 5), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    kind = drawn_of(results["environments"])
    _draw_losses(losses, results["history"], kind.loss)
    _draw_measures(accuracies, results["history"], results["environments"], kind)
    for axes in (losses, accuracies):
        _finish(axes, results["history"])
    figure.suptitle(f"{results['method']} on {plot_text(results['config'])}, seed {results['seed']}")
    figure.savefig(file, dpi=120)


def _draw_losses(axes: Axes, history: History, heading: str) -> None:
    seen: list[float] = []
    for key, (label, color, line) in LOSSES.items():
        epochs, values = _measured(history, key)
        if values:
            axes.plot(epochs, values, line, color=color, marker="o", markersize=4, label=label)
            seen += values
    axes.set_ylabel(heading)
    if seen and min(seen) > 0 and max(seen) >= LOG_FROM * min(seen):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif seen:
        axes.set_ylim(0, 1.08 * max(seen))


def _draw_measures(
    axes: Axes, history: History, environments: Mapping[str, Mapping[str, Any]], kind: Drawn
) -> None:
    drawn = 0
    for split, line in LINES.items():
        curves = {
            name: measured
            for name, entry in environments.items()
            if entry["split"] == split
            and (measured := _measured(history, f"{split}_{_own_name(name, split)}_{kind.measure}"))[1]
        }
        if len(curves) > MOST_LINES:
            _draw_band(axes, curves, split, kind)
            continue
        for name, (epochs, values) in curves.items():
            axes.plot(
                epochs,
                kind.factor * np.array(values),
                line,
                color=COLORS[drawn % len(COLORS)],
                linewidth=2 if split == "test" else 1.2,
                marker="o" if split == "test" else "s",
                markersize=4,
                label=f"{plot_text(_own_name(name, split))} ({split.replace('_', ' ')})",
            )
            drawn += 1
    axes.set_ylabel(kind.label)
    low, high = axes.get_ybound()
    if kind.factor == 1:
        axes.set_ylim(0, high)
        return
    axes.set_ylim(max(0, 10 * np.floor(low / 10)) if axes.has_data() else 0, 102)


def _own_name(name: str, split: str) -> str:
    """Results call an environment that other splits have too `<split>/<name>`."""
    return name.removeprefix(f"{split}/")


def _draw_band(
    axes: Axes, curves: Mapping[str, tuple[list[float], list[float]]], split: str, kind: Drawn
) -> None:
    """The median of many environments, half and nine tenths of them around it, and the worst."""
    epochs = next(iter(curves.values()))[0]
    values = kind.factor * np.array([values for own, values in curves.values() if own == epochs])
    color, line = BANDS[split], LINES[split]
    low, lower, median, upper, high = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0)
    label = f"median of {len(values):,} environments ({split})"
    axes.plot(epochs, median, line, color=color, linewidth=2, marker="o", markersize=4, label=label)
    for (bottom, top), shade, label in (((lower, upper), 0.3, "half"), ((low, high), 0.12, "90 %")):
        axes.fill_between(
            epochs, bottom, top, color=color, alpha=shade, linewidth=0, label=f"{label} of them ({split})"
        )
    worst = values.min(0) if rises(kind.measure) else values.max(0)
    axes.plot(epochs, worst, ":", color=color, marker="v", markersize=4, label=f"the worst ({split})")


def _measured(history: History, key: str) -> tuple[list[float], list[float]]:
    """The epochs at which `key` was measured, and its values there."""
    found = [(record["epoch"], record[key]) for record in history if key in record]
    return [epoch for epoch, _ in found], [value for _, value in found]


def _finish(axes: Axes, history: History) -> None:
    """An axis of epochs from 0, a grid, and the legend below, where it covers nothing."""
    epochs = sorted({record["epoch"] for record in history})
    axes.set_xlabel("epoch")
    if len(epochs) == 1:  # one evaluation: in the middle
        axes.set(xlim=(0, 2 * epochs[0] or 1), xticks=[0, round(epochs[0], 2)])
    else:
        last = epochs[-1] if epochs else 1
        axes.set_xlim(0, 1.04 * last)
        axes.xaxis.set_major_locator(MaxNLocator(integer=last >= 2, min_n_ticks=1))
    axes.grid(alpha=0.3)
    handles, _ = axes.get_legend_handles_labels()
    if not handles:
        axes.text(0.5, 0.5, "not measured while training", ha="center", transform=axes.transAxes)
        return
    columns = 3 if len(handles) <= 3 else 2
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=columns, frameon=False)
