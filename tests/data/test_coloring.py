"""Painting digits, and taking the paint off."""

from __future__ import annotations

import pytest
import torch

from hf_ood.data import PALETTE, RandomColor, colorize, load_grey_images, uncolorize
from hf_ood.data.colored_mnist.coloring import draw_color_pairs, parse_color_pair


def grey_digits(count: int = 64) -> torch.Tensor:
    return torch.from_numpy(load_grey_images().images[:count]).float() / 255


def distance(digit: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    return (digit.double() - background.double()).norm(dim=1)


def test_ink_gets_the_digit_colour_and_empty_pixels_the_background() -> None:
    grey = torch.tensor([[[0.0, 1.0], [0.5, 0.25]]])
    image = colorize(grey, torch.tensor([[200.0, 100.0, 0.0]]), torch.tensor([[0.0, 0.0, 40.0]]))[0]
    assert image[:, 0, 0].tolist() == [0, 0, 40]
    assert image[:, 0, 1].tolist() == [200, 100, 0]
    assert image[:, 1, 0].tolist() == [100, 50, 20]
    assert image[:, 1, 1].tolist() == [50, 25, 30]


def test_uncolorize_inverts_colorize() -> None:
    grey = grey_digits()
    digit, background = (color.float() for color in draw_color_pairs(len(grey), 100))
    assert torch.allclose(uncolorize(colorize(grey, digit, background), digit, background), grey, atol=1e-5)


def test_pairs_keep_their_distance_and_cover_the_cube() -> None:
    digit, background = draw_color_pairs(20000, 100.0, torch.Generator().manual_seed(0))
    assert digit.dtype == torch.uint8 and digit.shape == (20000, 3)
    assert distance(digit, background).min() >= 100
    assert (digit.float().mean(0) - 127.5).abs().max() < 2
    assert digit.amin() == 0 and digit.amax() == 255


def test_only_pairs_that_are_too_close_are_redrawn() -> None:
    free = draw_color_pairs(1000, 0.0, torch.Generator().manual_seed(1))
    kept = draw_color_pairs(1000, 150.0, torch.Generator().manual_seed(1))
    far = distance(*free) >= 150
    assert 0 < far.sum() < 1000
    assert torch.equal(free[0][far], kept[0][far]) and torch.equal(free[1][far], kept[1][far])


def test_an_impossible_distance_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.360, not 500"):
        draw_color_pairs(3, 500)


def test_colour_pairs_are_read_by_name() -> None:
    assert parse_color_pair("yellow_on_white") == (PALETTE["yellow"], PALETTE["white"])
    with pytest.raises(ValueError, match=r"'pink_on_black' is not a colour pair.*red, green, blue"):
        parse_color_pair("pink_on_black")


def test_random_color_repaints_grey_and_coloured_images_alike() -> None:
    grey = grey_digits()
    digit, background = draw_color_pairs(len(grey), 100)
    coloured = colorize(grey, digit.float() / 255, background.float() / 255)

    def paint(images: torch.Tensor, *colors: torch.Tensor) -> torch.Tensor:
        return RandomColor()(images, *colors, generator=torch.Generator().manual_seed(3))

    expected = paint(grey)
    assert expected.shape == (64, 3, 28, 28)
    assert torch.equal(paint(grey[:, None]), expected)
    assert torch.equal(paint(grey[:, None].expand(-1, 3, -1, -1)), expected)
    assert torch.allclose(paint(coloured, digit, background), expected, atol=1e-5)


def test_random_color_gives_every_image_its_own_pair_and_keeps_the_distance() -> None:
    images = RandomColor(min_color_distance=200)(grey_digits(500))
    background = images[:, :, 0, 0] * 255  # no digit reaches the corner
    ink = (
        images.flatten(2).gather(2, grey_digits(500).flatten(1).argmax(1)[:, None, None].expand(-1, 3, 1))[
            ..., 0
        ]
        * 255
    )
    assert len(background.round().unique(dim=0)) > 490
    full = grey_digits(500).flatten(1).amax(1) == 1
    assert full.sum() > 300
    assert distance(ink, background)[full].min() >= 199.9


def test_random_color_is_an_unparameterised_module() -> None:
    module = RandomColor()
    assert isinstance(module, torch.nn.Module) and not list(module.parameters())


def test_coloured_images_of_unknown_colours_are_refused() -> None:
    with pytest.raises(ValueError, match="digit_color and background_color"):
        RandomColor()(torch.rand(2, 3, 28, 28))
