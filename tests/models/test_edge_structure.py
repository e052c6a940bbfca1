"""Edges that know neither the colours of an image nor its contrast."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hf_ood import (
    LeNetConfig,
    LeNetForImageClassification,
    SmallResNetConfig,
    SmallResNetForImageClassification,
)
from hf_ood.models.lenet.edge_structure import CHANNELS, edge_structure


def grey(seed: int = 0, size: int = 12) -> Tensor:
    return torch.rand(6, 1, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def paint(levels: Tensor, seed: int, channels: int = 3) -> Tensor:
    """In two colours of each image's own."""
    generator = torch.Generator().manual_seed(seed)
    ink, ground = torch.rand(2, len(levels), channels, 1, 1, generator=generator, dtype=torch.float64)
    return ground + levels * (ink - ground)


@pytest.mark.parametrize("form", CHANNELS)
def test_any_two_colours_and_any_contrast_give_the_same(form: str) -> None:
    levels = grey()
    expected = edge_structure(levels, form)
    assert expected.shape == (6, CHANNELS[form], 12, 12) and expected.abs().max() <= 1 + 1e-12
    for changed in (
        paint(levels, 1),
        paint(levels, 2, channels=5),
        paint(1 - levels, 3),  # ink and ground swapped
        0.3 + 1e-3 * levels,
        40.0 - 255.0 * levels,
    ):
        torch.testing.assert_close(edge_structure(changed, form), expected, rtol=1e-9, atol=1e-10)


def test_a_constant_image_gives_zeros_and_finite_gradients() -> None:
    for value in (0.0, 0.1, 200.0):
        for dtype in (torch.float32, torch.float64):
            images = torch.full((2, 3, 9, 9), value, dtype=dtype, requires_grad=True)
            for form in CHANNELS:
                given = edge_structure(images, form)
                assert torch.equal(given, torch.zeros_like(given))
                (gradient,) = torch.autograd.grad(given.sum(), images)
                assert gradient.isfinite().all()


def test_the_tensor_is_that_of_its_definition() -> None:
    """A ramp of slope (2, 1) in a channel and (0, 3) in another, inside the image."""
    y, x = torch.meshgrid(*2 * [torch.arange(9, dtype=torch.float64)], indexing="ij")
    images = torch.stack([2 * x + y, 3 * y])[None]
    inner = edge_structure(images)[0, :, 4, 4]
    expected = torch.tensor([4.0, 1.0 + 9.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(inner / inner[:2].sum(), expected / expected[:2].sum())
    magnitude = edge_structure(images, "magnitude")[0, 0, 4, 4]
    torch.testing.assert_close(magnitude, inner[:2].sum())


def test_gradients_are_those_of_differences() -> None:
    images = paint(grey(size=5)[:1], 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda seen: edge_structure(seen, "tensor"), images, atol=1e-4)


@pytest.mark.parametrize("form", CHANNELS)
@pytest.mark.parametrize("network", ["lenet", "resnet"])
def test_networks_read_it(network: str, form: str) -> None:
    torch.manual_seed(0)
    if network == "lenet":
        model = LeNetForImageClassification(LeNetConfig(edge_structure=form, edge_branch=True))
    else:
        sizes = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16]}
        model = SmallResNetForImageClassification(SmallResNetConfig(edge_structure=form, **sizes))
    levels = grey(size=28)
    one, other = (model.eval()(paint(levels, seed).float()).logits for seed in (5, 6))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert one.std(0).min() > 1e-6


def test_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="no edge structure 'edges': choose one of magnitude, tensor"):
        edge_structure(grey(), "edges")
