"""The content and style autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from hf_ood import DisentangledVAEConfig, DisentangledVAEForImageClassification
from hf_ood.methods.masking import RSC

IMAGES = torch.rand(8, 3, 28, 28, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(8) % 2


def make(**options: Any) -> DisentangledVAEForImageClassification:
    torch.manual_seed(0)
    return DisentangledVAEForImageClassification(DisentangledVAEConfig(**options)).train()


def test_evaluation_is_the_head_of_the_mean_content() -> None:
    model = make(num_labels=10, content_size=12, style_size=3).eval()
    content, style = model.encode(IMAGES)
    output = model(IMAGES, labels=LABELS, output_hidden_states=True)
    assert content.mean.shape == content.log_variance.shape == (8, 12) and style.mean.shape == (8, 3)
    assert torch.equal(output.hidden_states[0], content.mean)
    assert torch.equal(model.forward_features(IMAGES), content.mean)
    assert torch.equal(output.logits, model.forward_head(content.mean))
    assert torch.equal(output.loss, F.cross_entropy(output.logits, LABELS))
    assert output.auxiliary_loss is None
    assert set(output) == {"loss", "logits", "hidden_states"}


def test_training_samples_the_content_around_its_mean() -> None:
    model = make()
    first, second = model(IMAGES).logits, model(IMAGES).logits
    assert not torch.equal(first, second)
    content, _ = model.encode(IMAGES)
    torch.manual_seed(0)
    samples = torch.stack([content.sample() for _ in range(4000)])
    deviation = (0.5 * content.log_variance).exp()
    assert ((samples.mean(0) - content.mean) / deviation).abs().max() < 0.08
    assert (samples.std(0) / deviation - 1).abs().max() < 0.08


def test_the_auxiliary_loss_is_the_evidence_bound_per_pixel() -> None:
    model = make(beta=3.0, reconstruction_weight=2.0).double()
    images = IMAGES.double()
    torch.manual_seed(5)
    found = model(images).auxiliary_loss
    torch.manual_seed(5)
    codes = model.encode(images)
    pixels = model.decode(codes[0].sample(), codes[1].sample()).sigmoid()
    likelihood = (images * pixels.log() + (1 - images) * (1 - pixels).log()).sum((1, 2, 3))
    divergence = sum(
        kl_divergence(
            Independent(Normal(code.mean, code.log_variance.exp().sqrt()), 1),
            Independent(Normal(torch.zeros_like(code.mean), torch.ones_like(code.mean)), 1),
        )
        for code in codes
    )
    expected = (-2 * likelihood + 3 * divergence) / 2352
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "options", [{}, {"conv_channels": [4, 8], "style_size": 1, "num_channels": 1}], ids=str
)
def test_gradients_reach_every_parameter(options: dict[str, Any]) -> None:
    model = make(**options)
    output = model(IMAGES[:, : model.config.num_channels], labels=LABELS)
    (output.loss + output.auxiliary_loss.mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_style_is_hidden_from_the_classifier() -> None:
    model = make()
    model(IMAGES, labels=LABELS).loss.backward()
    rows = model.encoder[-1].weight.grad.unflatten(0, (2, 40)).abs().sum(2)  # means and log-variances
    assert (rows[:, :32] > 0).all() and (rows[:, 32:] == 0).all()


def test_rsc_acts_on_the_content() -> None:
    seen: dict[str, Tensor] = {}

    class Noting(RSC):
        def __call__(self, features: Tensor, head: Any, labels: Tensor | None) -> Tensor:
            seen["masked"] = super().__call__(features, head, labels)
            return seen["masked"]

    model = make()
    output = model(IMAGES, labels=LABELS, feature_transform=Noting(restoration="none"))
    assert (seen["masked"] == 0).sum(1).eq(11).all()  # ceil(32 / 3) of 32
    assert torch.equal(output.logits, model.forward_head(seen["masked"]))


def test_reconstructions_and_swaps_are_deterministic_even_while_training() -> None:
    model = make()
    reconstructed = model.reconstruct(IMAGES)
    assert reconstructed.shape == IMAGES.shape and not reconstructed.requires_grad
    assert reconstructed.min() >= 0 and reconstructed.max() <= 1
    assert torch.equal(reconstructed, model.reconstruct(IMAGES))
    assert torch.equal(reconstructed, model.swap_styles(IMAGES, IMAGES))
    swapped = model.swap_styles(IMAGES, IMAGES.flip(0))
    (content, _), (_, style) = model.encode(IMAGES), model.encode(IMAGES.flip(0))
    torch.testing.assert_close(swapped, model.decode(content.mean, style.mean).sigmoid())


def test_saved_and_loaded_gives_the_same_bits(tmp_path: Path) -> None:
    model = make(content_size=5).eval()
    model.save_pretrained(tmp_path)
    loaded = DisentangledVAEForImageClassification.from_pretrained(tmp_path)
    assert loaded.config.content_size == 5
    assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)
    assert torch.equal(loaded.reconstruct(IMAGES), model.reconstruct(IMAGES))


def test_it_trains_in_bfloat16() -> None:
    model = make()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(IMAGES, labels=LABELS)
    (output.loss + output.auxiliary_loss.mean()).backward()
    assert output.auxiliary_loss.dtype == torch.float32
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_weights_start_with_torchs_scale() -> None:
    for name, module in make().named_modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            bound = module.weight[0].numel() ** -0.5
            assert module.weight.abs().max() <= bound
            assert abs(module.weight.std() / (bound / 3**0.5) - 1) < 0.15, name


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4, not 30"):
        make(image_size=30)
    assert make(image_size=32).reconstruct(torch.rand(2, 3, 32, 32)).shape == (2, 3, 32, 32)
