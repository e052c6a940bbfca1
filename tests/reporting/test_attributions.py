"""Heat maps over images."""

from __future__ import annotations

import numpy as np
import torch
from conftest import make_dataset
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hf_ood.explain import Attributions
from hf_ood.reporting.attributions import draw_attributions


def test_each_environment_shows_its_first_right_and_first_wrong_predictions() -> None:
    dataset = make_dataset((30, 30))
    rows = torch.arange(4, 60)
    predictions = dataset.labels[rows].clone()
    wrong = rows % 3 == 0
    predictions[wrong] = 1 - predictions[wrong]
    maps = torch.rand(len(rows), 28, 28, generator=torch.Generator().manual_seed(0))
    figure = draw_attributions(dataset, Attributions(rows, predictions, maps), examples=2)
    FigureCanvasAgg(figure).draw()
    grid = np.array(figure.axes).reshape(2, 4)
    for environment, line in enumerate(grid):
        here = dataset.environments[rows] == environment
        expected = torch.cat([rows[here & chosen][:2] for chosen in (~wrong, wrong)])
        for axes, row in zip(line, expected.tolist(), strict=True):
            image, heat = (np.asarray(layer.get_array()) for layer in axes.images)
            np.testing.assert_allclose(image, dataset.columns["pixel_values"][row].permute(1, 2, 0) / 255)
            np.testing.assert_allclose(heat, maps[row - 4] / maps[row - 4].max())
            names = [f"class {label}" for label in (predictions[row - 4], dataset.labels[row])]
            assert axes.get_title() == " / ".join(names)


def test_a_row_without_mistakes_has_empty_places() -> None:
    dataset = make_dataset((6, 6))
    attributions = Attributions(torch.arange(12), dataset.labels, torch.zeros(12, 28, 28))
    figure = draw_attributions(dataset, attributions, examples=3)
    FigureCanvasAgg(figure).draw()
    assert [len(axes.images) for axes in figure.axes] == [2, 2, 2, 0, 0, 0] * 2
