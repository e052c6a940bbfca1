"""The share of attribution that falls on the digit."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import make_dataset, make_model

from hf_ood.data import colored_mnist_tensors, colorize
from hf_ood.explain import attribute, attribution_report, digit_mask, digit_share, grad_cam


def test_the_mask_is_the_ink_whatever_the_colours() -> None:
    grey = torch.rand(6, 9, 9, generator=torch.Generator().manual_seed(0))
    digit = torch.tensor([[255, 0, 0], [0, 0, 255], [255, 255, 0], [0, 0, 0], [9, 200, 40], [90, 90, 90]])
    background = torch.tensor([[0, 0, 0], [255] * 3, [255] * 3, [255] * 3, [100, 0, 250], [250, 0, 0]])
    images = colorize(grey, digit.float(), background.float()).round().to(torch.uint8)
    colors = {"digit_color": digit.to(torch.uint8), "background_color": background.to(torch.uint8)}
    clear = (grey - 0.5).abs() > 0.02  # elsewhere rounding to 8 bits decides
    for pixels in (images, images.float() / 255):
        mask = digit_mask({"pixel_values": pixels, **colors})
        assert torch.equal(mask[clear], (grey > 0.5)[clear])


def test_without_colours_the_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="background_color, digit_color"):
        digit_mask(make_dataset().columns)


def test_the_share_is_a_ratio_of_sums_and_nothing_has_no_share() -> None:
    mask = torch.zeros(4, 2, 2, dtype=torch.bool)
    mask[:, 0, 0] = True
    maps = torch.tensor([[3.0, 1, 0, 0], [0, 5, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]).view(4, 2, 2)
    shares = digit_share(maps, mask).tolist()
    assert shares[:2] == [0.75, 0.0] and math.isnan(shares[2]) and shares[3] == 0.25


def test_the_report_is_the_mean_over_each_environment() -> None:
    model, dataset = make_model(), colored_mnist_tensors("fixed_colors")["test"]
    report = attribution_report(model, dataset, samples_per_environment=20, batch_size=7)
    assert list(report) == ["yellow_on_white", "blue_on_white"]
    for name, entry in report.items():
        rows = (dataset.environments == dataset.environment_names.index(name)).nonzero()[:20, 0]
        part = dataset.select(rows)
        images, masks = part.columns["pixel_values"].float() / 255, digit_mask(part.columns)
        with torch.no_grad():
            right = model(images).logits.argmax(1) == part.labels
        shares = digit_share(grad_cam(model, images), masks)
        assert entry["digit_share"] == pytest.approx(shares.nanmean().item(), abs=1e-5)
        assert entry["digit_share_right"] == pytest.approx(shares[right].nanmean().item(), abs=1e-5)
        assert entry["digit_share_wrong"] == pytest.approx(shares[~right].nanmean().item(), abs=1e-5)
        assert entry["digit_area"] == pytest.approx(masks.float().mean().item())
        assert entry["count"] == 20


def test_a_mean_over_nothing_is_none() -> None:
    model, dataset = make_model(), colored_mnist_tensors("fixed_colors")["test"]
    torch.nn.init.zeros_(model.head[-1].weight)
    report = attribution_report(model, dataset, samples_per_environment=5)
    assert all(entry["digit_share"] is None and entry["digit_area"] > 0 for entry in report.values())


def test_small_environments_are_taken_whole() -> None:
    dataset = make_dataset((3, 9, 5))
    attributions = attribute(make_model(), dataset, samples_per_environment=5, batch_size=4)
    taken = dataset.select(attributions.rows)
    assert list(taken.environment_counts().values()) == [3, 5, 5]
    assert len(attributions.predictions) == len(attributions.maps) == 13
