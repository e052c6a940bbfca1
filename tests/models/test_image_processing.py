"""From any image to LeNet's input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hf_ood import LeNetImageProcessor

PIXELS = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)


def process(images: object) -> torch.Tensor:
    return LeNetImageProcessor()(images, return_tensors="pt")["pixel_values"]


def test_an_rgb_image_of_the_right_size_is_only_scaled() -> None:
    result = process(Image.fromarray(PIXELS))
    assert result.shape == (1, 3, 28, 28) and result.dtype == torch.float32
    assert torch.allclose(result[0] * 255, torch.from_numpy(PIXELS).permute(2, 0, 1).float(), atol=1e-4)
    assert torch.equal(process(PIXELS), result)


@pytest.mark.parametrize("mode", ["L", "RGBA", "1", "P", "CMYK"])
@pytest.mark.parametrize("size", [(28, 28), (224, 160)])
def test_other_modes_and_sizes_are_converted(mode: str, size: tuple[int, int]) -> None:
    result = process(Image.new("RGB", size, (255, 255, 255)).convert(mode))
    assert result.shape == (1, 3, 28, 28)
    assert torch.allclose(result, torch.ones(1), atol=0.02)


def test_transparency_lies_on_white() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 4), dtype=np.uint8)
    transparent = Image.fromarray(pixels)
    on_white = Image.alpha_composite(Image.new("RGBA", (28, 28), "white"), transparent).convert("RGB")
    assert torch.equal(process(transparent), process(on_white))


@pytest.mark.parametrize(("width", "height"), [(73, 50), (9, 5)])
def test_other_sizes_are_resized_bilinearly(width: int, height: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    result = process(Image.fromarray(pixels))[0]
    resized = np.array(Image.fromarray(pixels).resize((28, 28), Image.Resampling.BILINEAR))
    expected = torch.from_numpy(resized).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_a_batch_of_different_images() -> None:
    batch = process([Image.new("L", (40, 40), 51), Image.new("RGB", (28, 28), (0, 102, 255))])
    assert torch.allclose(batch[:, :, 3, 3], torch.tensor([[0.2, 0.2, 0.2], [0.0, 0.4, 1.0]]))


def test_saved_and_loaded_it_does_the_same(tmp_path: Path) -> None:
    LeNetImageProcessor().save_pretrained(tmp_path)
    loaded = LeNetImageProcessor.from_pretrained(tmp_path)
    image = Image.fromarray(PIXELS).resize((50, 50))
    assert torch.equal(loaded(image, return_tensors="pt")["pixel_values"], process(image))
