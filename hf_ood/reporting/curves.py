"""Training curves of one run: loss, and accuracy per environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .colors import COLORS

CURVES_FILE = "curves.png"


def draw_curves(results: dict[str, Any], file: Path) -> None:
    """Two panels over epochs: losses; accuracies, one line per environment (dashed: held-out, solid:
    test)."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    history = results["history"]
    epochs = [record["epoch"] for record in history]
    for key, label, style in (
        ("train_cross_entropy", "training batches", ":"),
        ("validation_loss", "validation", "--"),
        ("test_loss", "test", "-"),
    ):
        values = [record.get(key, float("nan")) for record in history]
        loss_axes.plot(epochs, values, style, marker="o", markersize=3, label=label)
    loss_axes.set(xlabel="epoch", ylabel="cross-entropy (nats)")
    loss_axes.set_yscale("log")
    for number, (name, entry) in enumerate(results["environments"].items()):
        key = f"{entry['split']}_{name.removeprefix('test/')}_accuracy"
        values = [100 * record.get(key, float("nan")) for record in history]
        test = entry["split"] == "test"
        accuracy_axes.plot(
            epochs,
            values,
            "-" if test else "--",
            color=COLORS[number % len(COLORS)],
            linewidth=2 if test else 1.2,
            marker="o",
            markersize=3,
            label=f"{name} ({entry['split']})",
        )
    accuracy_axes.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 102))
    for axes in (loss_axes, accuracy_axes):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend(fontsize=8)
    figure.suptitle(f"{results['method']} on {results['config']}, seed {results['seed']}")
    figure.savefig(file, dpi=120)
