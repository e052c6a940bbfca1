"""The IRM paper's network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import make_dataset

from hf_ood import Fishr, MLPConfig, MLPForImageClassification
from hf_ood.methods.objectives import functional as F_ood
from hf_ood.models import Penultimate
from hf_ood.trainer.linear_probe import cached_features, fit_head


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


def test_a_single_logit_is_the_papers() -> None:
    model = make(single_logit=True)
    assert model.num_parameters() == (392 * 390 + 390) + (390 * 390 + 390) + (390 + 1)
    features, labels = model.forward_features(IMAGES), torch.arange(8) % 2
    own = features @ model.classifier.weight[0] + model.classifier.bias
    output = model(IMAGES, labels=labels)
    torch.testing.assert_close(output.logits, torch.stack([torch.zeros(8), own], 1))
    torch.testing.assert_close(output.loss, F.binary_cross_entropy_with_logits(own, labels.float()))
    with pytest.raises(ValueError, match="there are 3: leave it out"):
        make(single_logit=True, num_labels=3)


def test_a_single_logits_features_are_found_and_its_fishr_is_that_of_one_row() -> None:
    model, labels, environments = make(single_logit=True).double(), torch.arange(8) % 2, torch.arange(8) // 4
    penultimate = Penultimate(model)
    with penultimate:
        logits = model(IMAGES.double()).logits
    features = penultimate.take()
    assert penultimate.classifier is model.classifier and penultimate.classifier.out_features == 2
    parameters = list(model.classifier.parameters())
    gradients = torch.stack(
        [
            torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters, retain_graph=True)])
            for loss in F.cross_entropy(logits, labels, reduction="none")
        ]
    )
    variances = torch.stack([gradients[environments == e].var(0, unbiased=False) for e in (0, 1)])
    expected = (variances - variances.mean(0)).square().mean()
    torch.testing.assert_close(F_ood.fishr_penalty(logits, features, labels, environments, 2), expected)


def test_a_single_logit_is_probed_and_saved_as_one(tmp_path: Path) -> None:
    model = make(single_logit=True)
    features = cached_features(model, make_dataset(), batch_size=50)
    before = model.classifier.weight.detach().clone()
    fit_head(Penultimate(model).classifier, features, Fishr(warmup_steps=0), steps=3)
    assert model.classifier.weight.shape == (1, 390) and not torch.equal(model.classifier.weight, before)
    model.save_pretrained(tmp_path)
    loaded = MLPForImageClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded.eval()(IMAGES).logits, model.eval()(IMAGES).logits)


def test_too_few_channels_are_an_error() -> None:
    with pytest.raises(RuntimeError):
        make()(IMAGES[:, :1])
