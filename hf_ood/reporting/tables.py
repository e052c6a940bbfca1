"""Results as a table on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..evaluation.results import RESULTS_FILE
from .curves import CURVES_FILE


def results_table(results: dict[str, Any]) -> Table:
    """Environment, split, accuracy, loss, count; then the summary."""
    title = f"{results['method']} on {results['dataset']}/{results['config']}, seed {results['seed']}"
    table = Table(title=title, title_justify="left")
    for column in ("environment", "split"):
        table.add_column(column)
    for column in ("accuracy", "loss", "count"):
        table.add_column(column, justify="right")
    split = "validation"
    for name, entry in results["environments"].items():
        if entry["split"] != split:
            table.add_section()
            split = entry["split"]
        table.add_row(name, split, f"{entry['accuracy']:.2%}", f"{entry['loss']:.3f}", f"{entry['count']:,}")
    table.add_section()
    table.add_row("mean", "test", f"{results['mean_accuracy']:.2%}")
    table.add_row("worst", "test", f"{results['worst_accuracy']:.2%}")
    table.add_row("mean", "train", f"{results['train_accuracy']:.2%}")
    table.add_row("gap", "train - test", f"{results['gap']:.2%}")
    return table


def print_results(results: dict[str, Any], folder: str) -> None:
    console = Console()
    console.print(results_table(results))
    console.print(
        f"selection: {results['selection']}; {results['steps']} steps, {results['seconds']:.0f} s, "
        f"{results['samples_per_second']:,.0f} images/s",
        highlight=False,
    )
    for what, file in (
        ("checkpoint", "model.safetensors"),
        ("results", RESULTS_FILE),
        ("card", "README.md"),
        ("curves", CURVES_FILE),
    ):
        console.print(f"{what + ':':11s} {Path(folder) / file}", highlight=False, soft_wrap=True)
