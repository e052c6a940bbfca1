"""Training curves of one run: loss, and accuracy per environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..data.splits import IN_DOMAIN
from .colors import COLORS

CURVES_FILE = "curves.png"


def draw_curves(results: dict[str, Any], file: Path) -> None:
    """Two panels over epochs: losses; accuracies, one line per environment (dashed: held-out, dash-dotted:
    in-domain test, solid: test)."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    history = results["history"]
    epochs = [record["epoch"] for record in history]
    for key, label, style in (
        ("train_cross_entropy", "training batches", ":"),
        ("validation_loss", "validation", "--"),
        (f"{IN_DOMAIN}_loss", "in-domain test", "-."),
        ("test_loss", "test", "-"),
    ):
        if key == f"{IN_DOMAIN}_loss" and not any(key in record for record in history):
            continue  # most data have no such rows
        values = [record.get(key, float("nan")) for record in history]
        loss_axes.plot(epochs, values, style, marker="o", markersize=3, label=label)
    loss_axes.set(xlabel="epoch", ylabel="cross-entropy (nats)")
    loss_axes.set_yscale("log")
    for number, (name, entry) in enumerate(results["environments"].items()):
        own = name.removeprefix(f"{entry['split']}/")
        key = f"{entry['split']}_{own}_accuracy"
        values = [100 * record.get(key, float("nan")) for record in history]
        test = entry["split"] == "test"
        accuracy_axes.plot(
            epochs,
            values,
            {"test": "-", IN_DOMAIN: "-."}.get(entry["split"], "--"),
            color=COLORS[number % len(COLORS)],
            linewidth=2 if test else 1.2,
            marker="o",
            markersize=3,
            label=f"{own if entry['split'] == IN_DOMAIN else name} ({entry['split'].replace('_', ' ')})",
        )
    accuracy_axes.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 102))
    for axes in (loss_axes, accuracy_axes):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend(fontsize=8)
    figure.suptitle(f"{results['method']} on {results['config']}, seed {results['seed']}")
    figure.savefig(file, dpi=120)
