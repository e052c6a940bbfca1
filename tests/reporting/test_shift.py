"""The plane of the two shifts, and where the measured ones are shown."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from hf_ood.data.colored_mnist import CONFIGURATIONS, colored_mnist_text
from hf_ood.data.colored_mnist.card import SHIFTS
from hf_ood.experiments.study.illustrations import shift_illustration
from hf_ood.reporting.shift import MOST_POINTS, draw_shifts

RESULTS = Path(__file__).parents[2] / "hf_ood" / "results"
REPORT = json.loads((RESULTS / "shift" / "shift.json").read_text())


def test_every_configuration_was_measured_and_is_of_the_kind_it_says() -> None:
    assert list(REPORT["shifts"]) == list(CONFIGURATIONS)
    for name, shift in REPORT["shifts"].items():
        assert shift["kind"] == ("correlation" if name.endswith("shortcut") else "diversity")


def test_points_are_where_the_numbers_say() -> None:
    (axes,) = draw_shifts(REPORT["shifts"]).axes
    points = [container.lines[0].get_xydata()[0].tolist() for container in axes.containers]
    measures = [shift["measures"] for shift in REPORT["shifts"].values()]
    assert points == [[found[name]["value"] for name in ("diversity", "correlation")] for found in measures]


def test_points_that_lie_on_each_other_can_be_told_apart() -> None:
    """The later a point the smaller, so that no marker hides another."""
    (axes,) = draw_shifts(REPORT["shifts"]).axes
    markers = [container.lines[0] for container in axes.containers]
    sizes = [marker.get_markersize() for marker in markers]
    assert sizes == sorted(sizes, reverse=True) and len({*sizes}) == len(sizes)
    assert all(marker.get_markerfacecolor()[3] < 0.5 for marker in markers)
    assert len({marker.get_marker() for marker in markers}) == len(markers)


def test_of_many_pairs_the_farthest_are_named() -> None:
    one = REPORT["shifts"]["unseen_colors"]
    shifts = {}
    for number in range(300):
        moved = {**one["measures"]["diversity"], "value": number / 300}
        shifts[f"pair {number}"] = {**one, "measures": {**one["measures"], "diversity": moved}}
    (axes,) = draw_shifts(shifts).axes
    labels = axes.get_legend_handles_labels()[1]
    assert len(axes.containers) == MOST_POINTS and "288 others, nearer to no shift" in labels
    assert any(label.startswith("pair 299:") for label in labels) and len(labels) < 20


def test_the_line_is_only_drawn_where_it_holds() -> None:
    densities = {name: {**shift, "estimator": "kde"} for name, shift in REPORT["shifts"].items()}
    labels = [
        draw_shifts(shifts).axes[0].get_legend_handles_labels()[1] for shifts in (REPORT["shifts"], densities)
    ]
    assert "nothing in common" in labels[0] and "nothing in common" not in labels[1]


def test_the_page_shows_the_plane_with_its_command_if_there_is_one(tmp_path: Path) -> None:
    (illustration,) = shift_illustration(RESULTS)
    assert "trainers/measure_shift.py --all" in illustration.note
    assert shift_illustration(tmp_path) == []


def test_the_card_tells_the_committed_numbers_of_the_defaults_alone() -> None:
    assert SHIFTS.read_bytes() == (RESULTS / "shift" / "shift.csv").read_bytes()
    value = pd.read_csv(SHIFTS, index_col="name").loc["unseen_colors", "diversity_value"]
    assert value == pytest.approx(
        REPORT["shifts"]["unseen_colors"]["measures"]["diversity"]["value"], rel=1e-5
    )
    descriptions = colored_mnist_text(["unseen_colors"], {}).descriptions
    assert f"diversity shift {value:.2f}" in descriptions["unseen_colors"]
    assert "Measured" not in colored_mnist_text(["unseen_colors"], {"seed": 1}).descriptions["unseen_colors"]
