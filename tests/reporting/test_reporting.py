"""The table on the terminal and the curves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from hf_ood.reporting import curves, draw_curves, results_table

RESULTS: dict[str, Any] = {
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


def panels(
    monkeypatch: pytest.MonkeyPatch,
    history: list[dict[str, float]],
    environments: dict[str, Any] | None = None,
) -> tuple[Axes, Axes]:
    """The losses and the accuracies as they are drawn."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    changed = {} if environments is None else {"environments": environments}
    draw_curves({**RESULTS, **changed, "history": history}, Path("unused"))
    FigureCanvasAgg(figures[0]).draw()
    losses, accuracies = figures[0].axes
    return losses, accuracies


def labels(axes: Axes) -> list[str]:
    return axes.get_legend_handles_labels()[1]


def test_what_was_not_measured_is_not_in_the_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {key: value for key, value in RESULTS["history"][0].items() if key != "train_cross_entropy"}
    losses, accuracies = panels(monkeypatch, [record])
    assert labels(losses) == ["validation", "test"]
    assert len(labels(accuracies)) == 3


def test_one_evaluation_has_axes_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    losses, _ = panels(monkeypatch, [{**RESULTS["history"][0], "train_cross_entropy": 0.55}])
    assert losses.get_yscale() == "linear" and losses.get_ylim()[0] == 0
    assert [text.get_text() for text in losses.get_xticklabels()] == ["0", "1"]
    assert sum(losses.get_ylim()[0] <= tick <= losses.get_ylim()[1] for tick in losses.get_yticks()) >= 4


def test_losses_that_differ_by_ten_have_a_logarithmic_axis_with_plain_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history = [
        {"epoch": float(epoch), "test_loss": 0.9, "validation_loss": 0.5**epoch} for epoch in range(1, 9)
    ]
    losses, _ = panels(monkeypatch, history)
    assert losses.get_yscale() == "log"
    low, high = losses.get_ylim()
    ticks = {text.get_text() for text in losses.get_yticklabels() if low <= text.get_position()[1] <= high}
    assert {"0.01", "0.1", "0.5"} <= ticks


def test_a_line_goes_on_over_evaluations_that_did_not_log_it(monkeypatch: pytest.MonkeyPatch) -> None:
    history = [
        {"epoch": 1.0, "train_cross_entropy": 0.5},
        {"epoch": 2.0},
        {"epoch": 3.0, "train_cross_entropy": 0.2},
    ]
    (line,) = panels(monkeypatch, history)[0].lines
    assert line.get_xydata().tolist() == [[1, 0.5], [3, 0.2]]


def test_legends_cover_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    for axes in panels(monkeypatch, RESULTS["history"]):
        legend = axes.get_legend()
        assert legend is not None and not legend.get_window_extent().overlaps(axes.get_window_extent())


def test_many_environments_are_a_band_with_its_median_and_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    count = curves.MOST_LINES + 1
    environments = {f"e{number}": {"split": "test"} for number in range(count)}
    history = [
        {"epoch": epoch, **{f"test_e{number}_accuracy": number / 100 for number in range(count)}}
        for epoch in (1.0, 2.0)
    ]
    _, accuracies = panels(monkeypatch, history, environments)
    assert labels(accuracies)[0] == f"median of {count} environments (test)"
    median, worst = (line.get_ydata().tolist() for line in accuracies.lines)
    assert median == [4, 4] and worst == [0, 0]
    few = dict(list(environments.items())[:-1])
    assert len(panels(monkeypatch, history, few)[1].lines) == curves.MOST_LINES
