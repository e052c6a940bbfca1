"""Grad-CAM against its equations, on networks with maps and with tokens."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from backbones import VISION, make_backbone, make_inputs
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from hf_ood import (
    LeNetConfig,
    LeNetForImageClassification,
    MLPConfig,
    MLPForImageClassification,
    SmallResNetConfig,
    SmallResNetForImageClassification,
)
from hf_ood.explain import default_layer, grad_cam
from hf_ood.models import find_feature_layer
from hf_ood.models.features import features_of

IMAGES = torch.rand(5, 3, 28, 28, generator=torch.Generator().manual_seed(0)).double()


def lenet() -> LeNetForImageClassification:
    return LeNetForImageClassification(LeNetConfig(num_labels=4))


def resnet() -> SmallResNetForImageClassification:
    config = SmallResNetConfig(embedding_size=4, hidden_sizes=[4, 4, 8, 8], num_labels=4)
    model = SmallResNetForImageClassification(config)
    model(IMAGES.float())  # running statistics that are not the initial ones
    return model


def vit() -> ViTForImageClassification:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    return ViTForImageClassification(
        ViTConfig(image_size=28, patch_size=7, num_labels=4, initializer_range=0.5, **sizes)
    )


def swin() -> SwinForImageClassification:
    sizes = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2}
    return SwinForImageClassification(SwinConfig(image_size=28, patch_size=7, num_labels=4, **sizes))


NETWORKS = {
    lenet: "conv2",
    # Around every convolution of a residual network, and every norm of a transformer, something flows past.
    resnet: "resnet.encoder",
    # Only the class token is read, so the logits do not depend on the other tokens of any later layer.
    vit: "vit.layers.0",
    swin: "swin.layernorm",
}
every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)


def make(network: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    torch.manual_seed(0)
    return network().double().eval()


def by_hand(model: nn.Module, layer: str, targets: Tensor) -> Tensor:
    """Selvaraju et al. 2017, equations 1 and 2, with a hook."""
    kept: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *call: kept.append(features_of(call[2])))
    logits = model(pixel_values=IMAGES).logits
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[torch.arange(len(targets)), targets].sum(), kept)
    activation = kept[0].detach()
    if activation.dim() == 3:
        size = int(activation.shape[1] ** 0.5)
        activation, gradient = (
            values[:, -(size**2) :].reshape(len(values), size, size, -1).permute(0, 3, 1, 2)
            for values in (activation, gradient)
        )
    weights = gradient.sum((2, 3)) / gradient[0, 0].numel()
    maps = torch.einsum("bd,bdhw->bhw", weights, activation).clamp_min(0)
    return F.interpolate(maps[:, None], size=(28, 28), mode="bilinear")[:, 0]


@every_network
def test_it_is_the_papers_equation(network: Callable[[], PreTrainedModel]) -> None:
    model, targets = make(network), torch.tensor([3, 0, 1, 2, 2])
    maps = grad_cam(model, IMAGES, targets)
    expected = by_hand(model, NETWORKS[network], targets)
    assert expected.flatten(1).amax(1).gt(0).any()
    torch.testing.assert_close(maps, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", VISION)
def test_every_family_is_explained_at_the_end_of_its_features(name: str) -> None:
    model, images = make_backbone(name).eval(), make_inputs(name)["pixel_values"]
    maps = grad_cam(model, images)
    assert maps.shape == (4, 28, 28)
    assert maps.flatten(1).amax(1).gt(0).all() and maps.isfinite().all()
    layer, features = default_layer(model, images), find_feature_layer(model, {"pixel_values": images})
    assert layer in (features.name, f"{features.name}.convolution", f"{features.name}.top_conv")


@every_network
def test_the_layer_is_the_last_one_that_knows_places(network: Callable[[], PreTrainedModel]) -> None:
    assert default_layer(make(network), IMAGES) == NETWORKS[network]


@every_network
def test_the_predicted_class_is_explained_image_by_image_and_nothing_is_left_behind(
    network: Callable[[], PreTrainedModel],
) -> None:
    model = make(network)
    with torch.no_grad():
        targets = model(pixel_values=IMAGES).logits.argmax(1)
    model.train()
    with torch.no_grad():
        maps = grad_cam(model, IMAGES)
    assert model.training and not maps.requires_grad and not IMAGES.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    one_by_one = [grad_cam(model, IMAGES[i : i + 1], targets[i : i + 1]) for i in range(5)]
    torch.testing.assert_close(maps, torch.cat(one_by_one), rtol=1e-9, atol=1e-12)


def test_another_layer_by_name() -> None:
    model, targets = make(lenet), torch.tensor([3, 0, 1, 2, 2])
    torch.testing.assert_close(
        grad_cam(model, IMAGES, targets, layer="conv1"), by_hand(model, "conv1", targets)
    )
    with pytest.raises(ValueError, match="Did you mean 'conv1'"):
        grad_cam(model, IMAGES, layer="convv1")
    with pytest.raises(ValueError, match=r"gives shape \[5, 4\], which has no places: name a `layer`"):
        grad_cam(model, IMAGES, targets, layer="head.5")


def test_frozen_weights_are_explained_too() -> None:
    model = make(lenet)
    expected = grad_cam(model, IMAGES)
    assert torch.equal(grad_cam(model.requires_grad_(False), IMAGES), expected)


def test_a_network_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match="MLPForImageClassification has no layer with a map"):
        grad_cam(MLPForImageClassification(MLPConfig()).double(), IMAGES)


def test_a_network_that_depends_on_nothing_has_no_attribution() -> None:
    model = make(lenet)
    nn.init.zeros_(model.head[-1].weight)
    assert grad_cam(model, IMAGES).eq(0).all()


def test_without_captum_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ImportError, match=r'pip install "hf_ood\[explain\]"'):
        grad_cam(make(lenet), IMAGES)
