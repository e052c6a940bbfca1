"""The report's transforms on batches."""

from __future__ import annotations

import pytest
import torch
from conftest import make_dataset
from torch import Tensor, nn

from hf_ood.data import (
    AUGMENTATIONS,
    BatchAugmentation,
    RandomErasing,
    RandomGrayscale,
    RandomResizedCrop,
    colored_mnist_tensors,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 400) -> Tensor:
    return torch.rand(count, 3, 28, 28, generator=seeded(9))


def test_grayscale_is_the_luma_of_the_chosen_share() -> None:
    batch = images(2000)
    result = RandomGrayscale(p=0.3)(batch, seeded())
    grey = (result[:, 0] == result[:, 2]).all(dim=(1, 2))
    assert abs(grey.float().mean() - 0.3) < 0.04
    assert torch.equal(result[~grey], batch[~grey])
    luma = 0.299 * batch[:, 0] + 0.587 * batch[:, 1] + 0.114 * batch[:, 2]
    assert torch.allclose(result[grey][:, 1], luma[grey], atol=1e-6)


@pytest.mark.parametrize(
    "transform", [RandomGrayscale(p=0.0), RandomErasing(p=0.0), RandomResizedCrop((1, 1), (1, 1))]
)
def test_the_neutral_setting_changes_nothing(transform: nn.Module) -> None:
    assert torch.allclose(transform(images(), seeded()), images(), atol=1e-4)


def test_erasing_paints_one_box_of_the_asked_area() -> None:
    result = RandomErasing(p=0.5)(images() + 0.01, seeded())
    black = (result == 0).all(dim=1)
    touched = black.flatten(1).any(1)
    assert abs(touched.float().mean() - 0.5) < 0.08
    for mask in black[touched]:
        rows, columns = mask.any(1).sum(), mask.any(0).sum()
        assert mask.sum() == rows * columns  # a full rectangle
        assert 0 < rows * columns <= 0.40 * 28 * 28
    assert torch.equal(result[~touched], (images() + 0.01)[~touched])


def test_resized_crop_shows_a_box_of_the_image() -> None:
    """On a linear ramp a crop is a ramp again, whose ends tell the box."""
    ramp = torch.linspace(0, 1, 28).expand(1000, 3, 28, 28)
    result = RandomResizedCrop(scale=(0.25, 0.5), ratio=(1, 1))(ramp, seeded())
    extent = result[:, 0, 14, -1] - result[:, 0, 14, 0]
    steps = result[:, 0, 14].diff(dim=1)
    assert torch.allclose(steps[:, 2:-2], extent[:, None] / 27, atol=2e-3)
    share = (extent * 27 / 28 * 28 / 27).square()
    assert share.min() > 0.22 and share.max() < 0.53
    assert result[:, 0, 14, 0].std() > 0.05  # the place varies


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_keep_shape_range_and_are_seeded(name: str) -> None:
    train = colored_mnist_tensors("unseen_colors")["train"].select(range(64))
    augmented = train.with_transform(BatchAugmentation(AUGMENTATIONS[name](), seed=5))
    batch = augmented.__getitems__(range(64))
    pixels = batch["pixel_values"]
    assert pixels.shape == (64, 3, 28, 28) and pixels.is_floating_point()
    assert pixels.min() >= 0 and pixels.max() <= 1
    assert torch.equal(pixels, augmented.__getitems__(range(64))["pixel_values"])
    other = train.with_transform(BatchAugmentation(AUGMENTATIONS[name](), seed=6))
    assert not torch.equal(pixels, other.__getitems__(range(64))["pixel_values"])
    shifted = augmented.__getitems__(range(1, 64))["pixel_values"]
    assert not torch.equal(pixels[1:], shifted)  # another batch, other draws
    assert torch.equal(batch["labels"], train.labels) and torch.equal(
        batch["environment"], train.environments
    )


def test_random_color_takes_the_training_colours_off() -> None:
    train = colored_mnist_tensors("fixed_colors")["train"].select(range(300))
    batch = train.with_transform(BatchAugmentation(AUGMENTATIONS["random_color"]())).__getitems__(range(300))
    corner = batch["pixel_values"][:, :, 0, 0]
    assert (train.columns["pixel_values"][:, :, 0, 0] == 0).all()  # backgrounds were black
    assert corner.std(0).min() > 0.2


def test_images_whose_colours_are_unknown_are_refused() -> None:
    with pytest.raises(ValueError, match="digit_color"):
        make_dataset().with_transform(BatchAugmentation(AUGMENTATIONS["random_color"]()))[0]
