"""LeNet in every combination of its options."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hf_ood import LeNetConfig, LeNetForImageClassification
from hf_ood.data import colored_mnist_tensors
from hf_ood.models.lenet.modeling_lenet import SobelEdges

OPTIONS = [
    dict(zip(("instance_norm", "edge_branch", "color_canonicalization"), chosen, strict=True))
    for chosen in itertools.product((False, True), repeat=3)
]


@cache
def digits(count: int = 16) -> Tensor:
    return colored_mnist_tensors("unseen_colors")["test"].columns["pixel_values"][:count].float() / 255


def make(seed: int = 0, **options: object) -> LeNetForImageClassification:
    torch.manual_seed(seed)
    return LeNetForImageClassification(LeNetConfig(**options))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_forward_is_head_of_features_and_every_parameter_learns(options: dict[str, bool]) -> None:
    model, images, labels = make(**options, num_labels=10), digits(), torch.arange(16) % 10
    output = model(images, labels=labels, output_hidden_states=True)
    features = model.forward_features(images)
    assert features.shape == (16, 16, 5, 5) and output.logits.shape == (16, 10)
    assert torch.equal(output.logits, model.forward_head(features))
    assert torch.equal(output.hidden_states[0], features)
    assert torch.equal(output.loss, F.cross_entropy(output.logits, labels))
    output.loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_two_labels_are_the_default_and_the_loss_needs_labels() -> None:
    output = make()(digits())
    assert output.logits.shape == (16, 2) and output.loss is None and output.hidden_states is None


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_the_feature_transform_returns_is_what_the_head_sees(options: dict[str, bool]) -> None:
    model, labels, seen = make(**options), torch.zeros(16, dtype=torch.long), {}

    def halve(features: Tensor, head: nn.Module, given: Tensor | None) -> Tensor:
        seen.update(features=features, logits=head(features), labels=given)
        return features / 2

    images = digits()
    logits = model(images, labels=labels, feature_transform=halve).logits
    assert torch.equal(logits, model.forward_head(seen["features"] / 2))
    assert torch.equal(seen["logits"], model(images).logits)
    assert seen["labels"] is labels


@pytest.mark.parametrize("options", [{}, OPTIONS[-1]], ids=str)
def test_weights_start_with_torchs_scale(options: dict[str, bool]) -> None:
    """U(-b, b), b = 1/sqrt(fan_in), for convolutions and linear layers; PreTrainedModel's own std is 0.02."""
    for name, module in make(**options).named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = module.weight[0].numel() ** -0.5
            assert module.weight.abs().max() <= bound
            assert abs(module.weight.std() / (bound / 3**0.5) - 1) < 0.12, name
        if isinstance(module, nn.InstanceNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_saved_and_loaded_gives_the_same_bits(options: dict[str, bool], tmp_path: Path) -> None:
    model = make(**options, num_labels=10).eval()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    loaded = LeNetForImageClassification.from_pretrained(tmp_path)
    assert not loaded.training
    assert torch.equal(loaded(digits()).logits, model(digits()).logits)
    assert {name: getattr(loaded.config, name) for name in options} == options


def test_other_widths_and_image_sizes() -> None:
    model = make(num_channels=1, image_size=32, conv_channels=(4, 8), hidden_sizes=(20, 10))
    assert model(torch.rand(2, 1, 32, 32)).logits.shape == (2, 2)


def test_instance_normalisation_is_equations_10_to_12() -> None:
    model, images = make(instance_norm=True), digits()
    with torch.no_grad():
        model.input_norm.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        model.input_norm.bias.copy_(torch.tensor([1.0, 0.0, 3.0]))
        result = model.input_norm(images)
    for sample, channel in ((0, 0), (3, 1), (7, 2)):
        x = images[sample, channel].double().numpy()
        gamma, beta = model.input_norm.weight[channel].item(), model.input_norm.bias[channel].item()
        expected = gamma * (x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean() + 1e-5) + beta
        assert np.allclose(result[sample, channel].detach().numpy(), expected, atol=1e-5)


def test_with_instance_normalisation_brightness_and_contrast_of_a_channel_do_not_matter() -> None:
    images = digits()[:, :1].round().expand(-1, 3, -1, -1)  # full contrast, so that epsilon does not count
    scale, shift = torch.tensor([0.5, 0.8, 0.3])[:, None, None], torch.tensor([0.2, 0.1, 0.6])[:, None, None]
    normalised, plain = make(instance_norm=True).eval(), make().eval()
    changed = images * scale + shift
    assert torch.allclose(normalised(changed).logits, normalised(images).logits, atol=2e-3)
    assert not torch.allclose(plain(changed).logits, plain(images).logits, atol=2e-3)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_sample_does_not_depend_on_its_batch(options: dict[str, bool]) -> None:
    model, images = make(**options), digits()
    assert torch.allclose(model(images).logits[:3], model(images[:3]).logits, atol=1e-5)


def sobel_by_hand(image: np.ndarray, epsilon: float) -> np.ndarray:
    padded = np.pad(image, 1, mode="edge")
    rows, columns = image.shape
    result = np.zeros_like(image)
    for i in range(rows):
        for j in range(columns):
            window = padded[i : i + 3, j : j + 3]
            x = (window[:, 2] - window[:, 0]) @ [1, 2, 1]
            y = (window[2] - window[0]) @ [1, 2, 1]
            result[i, j] = np.sqrt(x**2 + y**2 + epsilon)
    return result


def test_edges_are_the_sobel_magnitude_of_each_channel() -> None:
    images = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    edges = SobelEdges(epsilon=1e-6)(images)
    for sample, channel in itertools.product(range(2), range(3)):
        expected = sobel_by_hand(images[sample, channel].double().numpy(), 1e-6)
        assert np.allclose(edges[sample, channel].numpy(), expected, atol=1e-5)


def test_flat_images_have_no_edges_whatever_their_colour_and_no_parameter_is_trained() -> None:
    edges = SobelEdges()
    assert not list(edges.parameters())
    assert edges(torch.full((1, 3, 28, 28), 0.7)).max() < 2e-3
    steep = torch.zeros(1, 1, 6, 6)
    steep[..., 3:] = 1
    assert edges(steep)[0, 0, 2].round(decimals=2).tolist() == [0, 0, 4, 4, 0, 0]


def test_the_edge_branch_tells_the_head_about_edges() -> None:
    model, images = make(edge_branch=True), digits()
    features = model.forward_features(images)
    model.edges.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    assert not torch.allclose(model.forward_features(images), features, atol=1e-3)


def test_only_what_is_missing_from_the_file_is_initialised(tmp_path: Path) -> None:
    missing = {"head.1.weight", "conv2.weight", "fusion.norm.weight"}
    model = LeNetForImageClassification(LeNetConfig(edge_branch=True))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if name not in missing}
    save_file(kept, file, metadata={"format": "pt"})
    loaded = LeNetForImageClassification.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in kept.items())
    for name in ("head.1.weight", "conv2.weight"):
        fan_in = loaded[name][0].numel()
        assert loaded[name].std().item() == pytest.approx((3 * fan_in) ** -0.5, rel=0.1)
    assert loaded["fusion.norm.weight"].eq(1).all()
