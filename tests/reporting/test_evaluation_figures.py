"""Confusion matrices and reliability diagrams: what each panel shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from hf_ood.reporting import evaluation_figures
from hf_ood.reporting.confusion_figure import draw_confusion
from hf_ood.reporting.panels import TOGETHER, columns_of
from hf_ood.reporting.reliability import ACCURACY, FAINT, FEW, draw_reliability

ENTRY = {"accuracy": 0.5, "count": 100, "ece": 0.1}


def bins(counts: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = np.array(counts, dtype=float)
    return count, 0.5 * count, 0.6 * count


def test_bins_of_a_handful_of_samples_are_faint_and_their_number_is_shown() -> None:
    counts = [0, FEW - 1, FEW, 1000]
    figure = draw_reliability({"a": bins(counts)}, {"a": ENTRY})
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    bars = [bar for bar in axes.patches if bar.get_facecolor()[:3] == to_rgba(ACCURACY)[:3]]
    shown = {round(bar.get_x() * len(counts)): bar.get_facecolor()[3] for bar in bars}
    assert shown == {1: FAINT, 2: 1.0, 3: 1.0}  # an empty bin has no bar
    (strip,) = axes.child_axes
    assert [bar.get_height() for bar in strip.patches] == counts
    assert strip.get_yscale() == "log" and strip.get_ylim()[1] > 1000


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_the_legend_of_reliability_covers_no_panel(count: int) -> None:
    names = [f"environment {number}" for number in range(count)]
    figure = draw_reliability({name: bins([20] * 15) for name in names}, dict.fromkeys(names, ENTRY))
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    covered = legend.get_window_extent()
    for axes in figure.axes:
        assert not covered.overlaps(axes.get_tightbbox())


def distances(figure: Figure, count: int) -> list[float]:
    """Of neighbouring panels' outlines from each other, texts included, in shares of a panel's height."""
    FigureCanvasAgg(figure).draw()
    boxes = [axes.get_tightbbox() for axes in figure.axes[:count]]
    height = figure.axes[0].get_window_extent().height
    below = columns_of(count)
    return [(upper.y0 - lower.y1) / height for upper, lower in zip(boxes, boxes[below:], strict=False)]


def test_there_is_no_empty_band_between_rows_of_confusion_matrices() -> None:
    names = [f"environment {number}" for number in range(6)]
    matrices = {name: np.array([[8, 2], [1, 9]]) for name in names}
    figure = draw_confusion(matrices, ["no", "yes"], dict.fromkeys(names, ENTRY))
    gaps = distances(figure, 6)
    assert len(gaps) == 3 and all(0 <= gap < 0.1 for gap in gaps)


def test_rows_of_panels_have_about_one_length() -> None:
    assert [columns_of(count) for count in (1, 4, 5, 6, 9, 12)] == [1, 4, 3, 3, 3, 4]


def test_a_class_that_does_not_occur_is_empty_not_zero() -> None:
    figure = draw_confusion({"a": np.array([[3, 1], [0, 0]])}, ["no", "yes"], {"a": ENTRY})
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["75", "25", "", ""]


def test_of_many_environments_one_panel_shows_all_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    logits, labels, environments = rng.normal(size=(900, 3)), rng.integers(0, 3, 900), np.arange(900) % 300
    names = [f"e{number}" for number in range(300)]
    report = evaluation_figures.environment_report(logits, labels, environments, names)
    seen = {}

    def watch(matrices, *rest):  # type: ignore[no-untyped-def]
        seen.update(matrices)
        return draw_confusion(matrices, *rest)

    monkeypatch.setattr(evaluation_figures, "draw_confusion", watch)
    evaluation_figures.draw_evaluation(
        logits, labels, environments, names, report, {0: "a", 1: "b", 2: "c"}, tmp_path
    )
    assert next(iter(seen)) == TOGETHER and len(seen) == 8
    assert seen[TOGETHER].sum() == 900
    for name in list(seen)[1:]:
        here = environments == names.index(name)
        expected = np.zeros((3, 3), int)
        np.add.at(expected, (labels[here], logits[here].argmax(1)), 1)
        assert (seen[name] == expected).all()
    for file in ("confusion.png", "reliability.png"):
        assert max(Image.open(tmp_path / file).size) < 2000
