"""Pictures of what an autoencoder has learned."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import Tensor

from hf_ood.data import colored_mnist_tensors
from hf_ood.reporting.reconstructions import draw_reconstructions, first_images, style_grid


class Painter:
    """Content is the shape of the first channels' sum, style the mean colour: what a swap has to show."""

    def reconstruct(self, pixel_values: Tensor) -> Tensor:
        return self.swap_styles(pixel_values, pixel_values)

    def swap_styles(self, content_images: Tensor, style_images: Tensor) -> Tensor:
        colour = style_images.amax((2, 3), keepdim=True)
        return content_images.amax(1, keepdim=True) * colour


def test_rows_keep_their_content_and_columns_their_style() -> None:
    images = first_images(colored_mnist_tensors("fixed_colors")["train"], 5)
    colours = images.amax((2, 3)).round()
    assert colours[:3].tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]  # environments in turn
    grid = style_grid(Painter(), images[:2], images[2:5])
    assert grid.shape == (3, 4, 3, 28, 28)
    assert torch.equal(grid[0, 1:], images[2:5]) and torch.equal(grid[1:, 0], images[:2])
    torch.testing.assert_close(grid[2, 3], Painter().swap_styles(images[1:2], images[4:5])[0])


def test_there_are_two_panels_for_each_split() -> None:
    splits = colored_mnist_tensors("fixed_colors")
    figure = draw_reconstructions(Painter(), {name: splits[name] for name in ("validation", "test")}, count=4)
    FigureCanvasAgg(figure).draw()
    assert [axes.get_title().partition(":")[0] for axes in figure.axes] == ["validation"] * 2 + ["test"] * 2
    pairs, grid = (np.asarray(axes.images[0].get_array()) for axes in figure.axes[:2])
    assert pairs.shape == (4 * 30, 4 * 30, 3) and grid.shape == (5 * 30, 5 * 30, 3)
