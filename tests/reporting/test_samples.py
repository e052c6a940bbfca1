"""Pictures of the data."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hf_ood.data import colored_mnist_tensors
from hf_ood.reporting.samples import draw_edges, draw_samples


def test_there_is_a_row_for_each_environment_in_its_colours() -> None:
    splits = colored_mnist_tensors("fixed_colors")
    figure = draw_samples({split: splits[split] for split in ("train", "test")}, columns=7)
    FigureCanvasAgg(figure).draw()
    names = [axes.get_ylabel().partition("\n")[0] for axes in figure.axes]
    assert names == ["red_on_black", "green_on_black", "white_on_black", "yellow_on_white", "blue_on_white"]
    for axes, channel in zip(figure.axes[:2], (0, 1), strict=True):
        row = np.asarray(axes.images[0].get_array())
        assert row.shape == (30, 7 * 30, 3)
        inside = row[1:-1, 1:29]
        assert inside[..., channel].max() == 1 and inside[..., 2].max() == 0


def test_edge_maps_lie_under_their_images() -> None:
    figure = draw_edges(colored_mnist_tensors("unseen_colors")["test"], columns=5)
    images, edges = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    assert images.shape == edges.shape == (30, 150, 3)
    assert edges[1, 1].max() < 0.02  # an empty corner has no edge, whatever its colour
    assert np.isclose(edges[1:-1, 1:29].max(), 1)
