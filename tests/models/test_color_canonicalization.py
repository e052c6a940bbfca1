"""The grey digit is recovered from any pair of colours, and what happens where it cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hf_ood import LeNetConfig, LeNetForImageClassification
from hf_ood.data import colorize, load_grey_images
from hf_ood.data.colored_mnist.coloring import draw_color_pairs
from hf_ood.models import canonicalize_colors


def grey_digits(count: int = 2000) -> Tensor:
    return torch.from_numpy(load_grey_images().images[-count:]).float() / 255


def paint(grey: Tensor, seed: int, distance: float = 100.0, rounded: bool = False) -> Tensor:
    digit, background = draw_color_pairs(len(grey), distance, torch.Generator().manual_seed(seed))
    images = colorize(grey, digit.float(), background.float())
    return (images.round() if rounded else images) / 255


def stretched(grey: Tensor) -> Tensor:
    low, high = grey.amin((1, 2), keepdim=True), grey.amax((1, 2), keepdim=True)
    return (grey - low) / (high - low)


def test_digits_in_random_colours_become_the_grey_ones() -> None:
    grey = grey_digits()
    assert torch.allclose(canonicalize_colors(paint(grey, 0))[:, 0], stretched(grey), atol=1e-4)


def test_rounding_to_8_bits_costs_less_than_a_hundredth() -> None:
    grey = grey_digits()
    error = (canonicalize_colors(paint(grey, 1, rounded=True))[:, 0] - stretched(grey)).abs()
    assert error.max() < 0.01


def test_two_paintings_of_a_digit_are_one_image_to_the_network() -> None:
    torch.manual_seed(0)
    model = LeNetForImageClassification(LeNetConfig(color_canonicalization=True))
    first, second = (model(paint(grey_digits(200), seed)).logits for seed in (2, 3))
    assert torch.allclose(first, second, atol=1e-4)
    assert first.std(0).min() > 1e-3


def test_the_unit_and_the_number_of_channels_do_not_matter() -> None:
    images, expected = paint(grey_digits(50), 4), stretched(grey_digits(50))[:, None]
    assert torch.allclose(canonicalize_colors(images * 255), expected, atol=1e-4)
    assert torch.allclose(canonicalize_colors(images * 1e-5), expected, atol=1e-4)
    assert torch.allclose(canonicalize_colors(images[:, :1]), expected, atol=1e-3)
    spectrum = (
        torch.rand(20, generator=torch.Generator().manual_seed(1))[:, None, None] * grey_digits(50)[:, None]
    )
    assert torch.allclose(canonicalize_colors(spectrum), expected, atol=1e-4)


def test_the_type_is_kept() -> None:
    assert canonicalize_colors(paint(grey_digits(2), 0).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("unit", [1e-5, 1, 255])
def test_a_constant_image_is_empty_and_harmless_in_training(unit: float) -> None:
    colors = torch.rand(50, 3, 1, 1, generator=torch.Generator().manual_seed(0)) * unit
    images = colors.expand(50, 3, 28, 28).clone().requires_grad_()
    grey = canonicalize_colors(images)
    assert (grey == 0).all()
    # Random weights: the gradient of a square would be zero here and hide a division by zero.
    (grey * torch.randn(grey.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert images.grad is not None and images.grad.isfinite().all()


def test_the_gradient_is_that_of_the_function() -> None:
    generator = torch.Generator().manual_seed(0)
    grey = torch.rand(1, 5, 5, generator=generator).square()
    images = colorize(grey, torch.tensor([[0.9, 0.2, 0.4]]), torch.tensor([[0.1, 0.7, 0.3]])).requires_grad_()
    weights = torch.rand(1, 1, 5, 5, generator=generator)
    (canonicalize_colors(images) * weights).sum().backward()
    direction = torch.rand(images.shape, generator=generator) - 0.5

    def value(step: float) -> Tensor:
        return (canonicalize_colors(images.detach() + step * direction) * weights).sum()

    numeric = (value(1e-2) - value(-1e-2)) / 2e-2
    assert images.grad is not None
    assert torch.allclose((images.grad * direction).sum(), numeric, rtol=0.02)


def test_an_image_that_is_mostly_ink_is_inverted() -> None:
    """The documented limit of telling ink from ground by which is rarer."""
    negative = 1 - stretched(grey_digits(20))
    assert torch.allclose(canonicalize_colors(paint(negative, 0))[:, 0], 1 - negative, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_second_background_colour_breaks_the_assumption(seed: int) -> None:
    """The documented limit: three colours do not lie on a line, so the result depends on them."""
    images = paint(grey_digits(20), seed)
    images[:, :, :, 14:] += 0.5 * torch.tensor([1.0, -1.0, 0.5])[:, None, None]
    difference = (canonicalize_colors(images)[:, 0] - stretched(grey_digits(20))).abs()
    assert difference.amax((1, 2)).min() > 0.1
