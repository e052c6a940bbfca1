"""The IRM paper's network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hf_ood import MLPConfig, MLPForImageClassification


def make(**options: int) -> MLPForImageClassification:
    torch.manual_seed(0)
    return MLPForImageClassification(MLPConfig(**options))


IMAGES = torch.rand(8, 3, 28, 28, generator=torch.Generator().manual_seed(1))


def test_it_has_the_papers_size() -> None:
    """2 x 14 x 14 = 392 inputs, two hidden layers of 390; one logit there is the difference of two here."""
    assert make().num_parameters() == (392 * 390 + 390) + (390 * 390 + 390) + (390 * 2 + 2)


def test_weights_are_xavier_and_biases_zero() -> None:
    for layer in make().modules():
        if isinstance(layer, torch.nn.Linear):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            assert 0.95 * bound < layer.weight.abs().max() <= bound
            assert abs(layer.weight.std() / (bound / 3**0.5) - 1) < 0.05
            assert (layer.bias == 0).all()


def test_it_sees_every_second_pixel_of_red_and_green() -> None:
    images = IMAGES.clone().requires_grad_()
    make()(images).logits[:, 0].sum().backward()
    seen = images.grad != 0
    expected = torch.zeros(3, 28, 28, dtype=torch.bool)
    expected[:2, ::2, ::2] = True
    assert torch.equal(seen.any(0), expected)


def test_blue_can_be_seen_on_request() -> None:
    assert make(num_channels=3).hidden[0].in_features == 588


def test_forward_loss_and_feature_transform() -> None:
    model, labels = make(), torch.arange(8) % 2
    output = model(IMAGES, labels=labels)
    features = model.forward_features(IMAGES)
    assert features.shape == (8, 390)
    assert torch.equal(output.logits, model.forward_head(features))
    assert torch.equal(output.loss, F.cross_entropy(output.logits, labels))
    doubled = model(IMAGES, feature_transform=lambda features, head, labels: 2 * features).logits
    assert torch.equal(doubled, model.forward_head(2 * features))


def test_saved_and_loaded_gives_the_same_bits(tmp_path: Path) -> None:
    model = make(num_channels=3).eval()
    model.save_pretrained(tmp_path)
    loaded = MLPForImageClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)


def test_too_few_channels_are_an_error() -> None:
    with pytest.raises(RuntimeError):
        make()(IMAGES[:, :1])
