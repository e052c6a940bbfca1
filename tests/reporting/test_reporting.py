"""The table on the terminal and the curves."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from hf_ood.reporting import draw_curves, results_table

RESULTS = {
    "method": "irm",
    "dataset": "colored_mnist",
    "config": "fixed_colors",
    "seed": 0,
    "environments": {
        "red_on_black": {"accuracy": 0.98, "loss": 0.05, "count": 2000, "split": "validation"},
        "blue_on_white": {"accuracy": 0.5, "loss": 0.9, "count": 5000, "split": "test"},
        "test/red_on_black": {"accuracy": 0.75, "loss": 0.4, "count": 5000, "split": "test"},
    },
    "mean_accuracy": 0.625,
    "worst_accuracy": 0.5,
    "train_accuracy": 0.99,
    "gap": 0.365,
    "history": [
        {
            "epoch": epoch,
            "train_cross_entropy": 1 / epoch,
            "validation_loss": 0.5,
            "test_loss": 0.9,
            "validation_red_on_black_accuracy": 0.9,
            "test_blue_on_white_accuracy": 0.5,
            "test_red_on_black_accuracy": 0.7,
        }
        for epoch in (1.0, 2.0)
    ],
}


def test_the_table_shows_every_environment_and_the_summary() -> None:
    console = Console(width=100, record=True, file=sys.stderr)
    console.print(results_table(RESULTS))
    text = console.export_text()
    for expected in ("red_on_black", "50.00%", "5,000", "62.50%", "worst", "36.50%", "irm on colored_mnist"):
        assert expected in text


def test_rows_of_training_environments_and_the_shift_stand_apart() -> None:
    entry = {"accuracy": 0.9, "loss": 0.2, "count": 300, "split": "in_domain_test", "collapsed_to": "a[b]"}
    gap = {"in_domain_accuracy": 0.9, "in_domain_split": "in_domain_test", "shift_gap": 0.275}
    environments = {**RESULTS["environments"], "in_domain_test/red_on_black": entry}
    summary = {"worst": {"worst_group": 0.125}}
    results = {**RESULTS, **gap, "summary": summary, "environments": environments}
    console = Console(width=100, record=True, file=sys.stderr)
    console.print(results_table(results))
    lines = console.export_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("│").split("│")][:3] for line in lines]
    for row in (
        ["red_on_black", "in-domain test", "90.00%"],
        ["mean", "in-domain test", "90.00%"],
        ["shift gap", "in-domain - test", "27.50%"],
        ["worst group", "test", "12.50%"],
    ):
        assert row in rows
    assert "red_on_black: all 300 samples are predicted as a[b]" in " ".join(" ".join(lines).split())


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_the_curves_are_a_picture_with_something_on_it(epochs: int, tmp_path: Path) -> None:
    draw_curves({**RESULTS, "history": RESULTS["history"][:epochs]}, tmp_path / "curves.png")
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB"))
    assert pixels.shape[1] > pixels.shape[0] > 300
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10
