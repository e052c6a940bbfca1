"""Heat maps over images."""

from __future__ import annotations

import numpy as np
import torch
from conftest import make_dataset
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hf_ood.data import EnvironmentDataset
from hf_ood.explain import Attributions
from hf_ood.reporting.attributions import HEAT, draw_attributions


def drawn(
    dataset: EnvironmentDataset, attributions: Attributions, examples: int
) -> tuple[Figure, np.ndarray]:
    """The figure, and its cells [environments, 2 * examples]."""
    figure = draw_attributions(dataset, attributions, examples)
    FigureCanvasAgg(figure).draw()
    return figure, np.array(figure.axes[:-1]).reshape(-1, 2 * examples)


def test_each_environment_shows_its_first_right_and_first_wrong_predictions() -> None:
    dataset = make_dataset((30, 30))
    rows = torch.arange(4, 60)
    predictions = dataset.labels[rows].clone()
    wrong = rows % 3 == 0
    predictions[wrong] = 1 - predictions[wrong]
    maps = torch.rand(len(rows), 28, 28, generator=torch.Generator().manual_seed(0))
    _, grid = drawn(dataset, Attributions(rows, predictions, maps, "conv2"), examples=2)
    assert len(grid) == 2
    for environment, line in enumerate(grid):
        here = dataset.environments[rows] == environment
        expected = torch.cat([rows[here & chosen][:2] for chosen in (~wrong, wrong)])
        for axes, row in zip(line, expected.tolist(), strict=True):
            image, heat = (np.asarray(layer.get_array()) for layer in axes.images)
            np.testing.assert_allclose(image, dataset.columns["pixel_values"][row].permute(1, 2, 0) / 255)
            np.testing.assert_allclose(heat, maps[row - 4] / maps[row - 4].max())
            names = [f"class {label}" for label in (predictions[row - 4], dataset.labels[row])]
            assert axes.get_title() == " / ".join(names)


def test_the_layer_is_named_and_the_heat_has_a_scale() -> None:
    dataset = make_dataset((6, 6))
    attributions = Attributions(torch.arange(12), dataset.labels, torch.rand(12, 28, 28), "encoder.layer.1")
    figure, grid = drawn(dataset, attributions, examples=2)
    assert "at layer encoder.layer.1" in figure.get_suptitle()
    scale = figure.axes[-1]
    assert scale.get_ylim() == (0, 1) and "maximum" in scale.get_ylabel()
    heat = grid[0, 0].images[1]
    assert heat.get_cmap() is HEAT and heat.get_clim() == (0, 1)


def test_a_cell_says_where_an_environment_has_no_such_prediction() -> None:
    dataset = make_dataset((6, 6))
    predictions = dataset.labels.clone()
    first = (dataset.environments == 0).nonzero()[0, 0]
    predictions[first] = 1 - predictions[first]
    attributions = Attributions(torch.arange(12), predictions, torch.zeros(12, 28, 28), "conv2")
    _, grid = drawn(dataset, attributions, examples=3)
    images = [[len(axes.images) for axes in line] for line in grid]
    assert images == [[2, 2, 2, 2, 0, 0], [2, 2, 2, 0, 0, 0]]
    said = [[text.get_text() for axes in line for text in axes.texts] for line in grid]
    assert said == [["no other wrong\nprediction"], ["no wrong\nprediction"]]


def test_many_environments_are_drawn_from_the_worst_to_the_best() -> None:
    dataset = make_dataset([4] * 50)
    predictions = dataset.labels.clone()
    predictions[dataset.environments == 17] = 1 - predictions[dataset.environments == 17]
    attributions = Attributions(torch.arange(200), predictions, torch.zeros(200, 28, 28), "conv2")
    _, grid = drawn(dataset, attributions, examples=1)
    headings = [axes.get_ylabel() for axes in grid[:, 0]]
    assert len(headings) == 7 and headings[0] == "environment_17\n(worst of 50)"
