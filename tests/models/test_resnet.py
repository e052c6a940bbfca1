"""The small-image ResNet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import make_args, make_dataset
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification

import hf_ood.models
from hf_ood import RSC, RSCTrainer, SmallResNetConfig, SmallResNetForImageClassification

TINY = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16]}
OPTIONS = [{}, {"stem_stride": 2}, {"instance_norm": True}, {"color_canonicalization": True},
           {"edge_structure": "tensor"}, {"normalization": "test_batch"},
           {"normalization": "group"}]  # fmt: skip
IMAGES = torch.rand(6, 3, 28, 28, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 2


def make(**options: object) -> SmallResNetForImageClassification:
    torch.manual_seed(0)
    return SmallResNetForImageClassification(SmallResNetConfig(**{**TINY, **options}))


def test_the_defaults_are_resnet_18_apart_from_the_stem() -> None:
    plain = ResNetConfig(hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic")
    with torch.device("meta"):
        theirs = ResNetForImageClassification(plain)
        ours = SmallResNetForImageClassification(SmallResNetConfig())
    assert ours.num_parameters() == theirs.num_parameters() - 64 * 3 * (7 * 7 - 3 * 3)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_forward_is_head_of_features_and_every_parameter_learns(options: dict[str, object]) -> None:
    model = make(**options)
    output = model(IMAGES, labels=LABELS, output_hidden_states=True)
    (features,) = output.hidden_states
    size = 2 if "stem_stride" in options else 4
    assert features.shape == (6, 16, size, size)
    assert torch.equal(output.logits, model.forward_head(features))
    assert torch.equal(output.loss, F.cross_entropy(output.logits, LABELS))
    output.loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_head_is_the_mean_over_cells_and_a_linear_layer() -> None:
    model = make(num_labels=5)
    features = torch.rand(3, 16, 4, 4)
    expected = features.mean((2, 3)) @ model.classifier.weight.T + model.classifier.bias
    assert torch.allclose(model.forward_head(features), expected, atol=1e-6)


def test_what_the_feature_transform_returns_is_what_the_head_sees() -> None:
    model, seen = make().eval(), {}

    def halve(features: Tensor, head: nn.Module, labels: Tensor | None) -> Tensor:
        seen.update(features=features, logits=head(features), labels=labels)
        return features / 2

    logits = model(IMAGES, labels=LABELS, feature_transform=halve).logits
    assert torch.equal(logits, model.forward_head(seen["features"] / 2))
    assert torch.equal(seen["logits"], model(IMAGES).logits)
    assert seen["labels"] is LABELS


def test_rsc_suppresses_a_third_of_the_cells_or_channels() -> None:
    model, kept = make(), {}

    def challenge(features: Tensor, head: nn.Module, labels: Tensor | None) -> Tensor:
        kept["before"] = features
        kept["after"] = RSC(mask="spatial", restoration="none")(features, head, labels)
        return kept["after"]

    model(IMAGES, labels=LABELS, feature_transform=challenge).loss.backward()
    dropped = (kept["after"] == 0).all(1) & (kept["before"] != 0).any(1)
    assert dropped.flatten(1).sum(1).tolist() == [6] * 6  # a third of 16 cells, rounded up
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_rsc_trainer_moves_every_parameter(tmp_path: Path) -> None:
    model = make()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    RSCTrainer(model, make_args(tmp_path, max_steps=2), train_dataset=make_dataset()).train()
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter.cpu(), before[name]), name


def test_weights_start_with_kaimings_scale() -> None:
    for name, module in make(hidden_sizes=[32, 32, 64, 64]).named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert abs(module.weight.std() / (2 / fan_out) ** 0.5 - 1) < 0.15, name


def test_with_instance_normalisation_brightness_and_contrast_of_a_channel_do_not_matter() -> None:
    model = make(instance_norm=True).eval()
    scale, shift = torch.tensor([0.5, 0.8, 0.3])[:, None, None], torch.tensor([0.2, 0.1, 0.6])[:, None, None]
    assert torch.allclose(model(IMAGES * scale + shift).logits, model(IMAGES).logits, atol=1e-2)


def test_with_canonicalisation_colours_do_not_matter() -> None:
    model = make(color_canonicalization=True).eval()
    grey = IMAGES[:, :1] ** 4  # skewed, as strokes are
    red = torch.cat([grey, torch.zeros_like(grey), torch.zeros_like(grey)], dim=1)
    assert torch.allclose(model(1 - red).logits, model(grey.expand(-1, 3, -1, -1)).logits, atol=1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_saved_and_loaded_gives_the_same_bits(options: dict[str, object], tmp_path: Path) -> None:
    model = make(**options, num_labels=3)
    model(IMAGES)  # moves the running statistics
    model.eval().save_pretrained(tmp_path)
    loaded = SmallResNetForImageClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded(IMAGES).logits, model(IMAGES).logits)


@pytest.mark.parametrize("file", ["color_canonicalization.py", "edge_structure.py"])
def test_what_looks_at_the_input_is_lenets(file: str) -> None:
    """Remote code travels with its own folder only, so each folder holds the file; it is one text."""
    folder = Path(hf_ood.models.__file__).parent
    texts = {path.read_text() for path in folder.glob(f"*/{file}")}
    assert len(list(folder.glob(f"*/{file}"))) == 3 and len(texts) == 1


def test_the_statistics_of_the_test_batch_replace_those_of_the_training() -> None:
    usual, by_batch = make(), make(normalization="test_batch")
    by_batch.load_state_dict(usual.state_dict())
    assert torch.equal(usual.train()(IMAGES).logits, by_batch.train()(IMAGES).logits)
    assert torch.equal(by_batch.eval()(IMAGES).logits, usual.train()(IMAGES).logits)
    assert not torch.allclose(by_batch(IMAGES[:3]).logits, by_batch(IMAGES).logits[:3])


def test_group_normalisation_sees_one_image_at_a_time() -> None:
    model = make(normalization="group").eval()
    assert torch.allclose(model(IMAGES[:3]).logits, model(IMAGES).logits[:3], atol=1e-6)


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match="'batch', 'test_batch' or 'group', not 'layer'"):
        make(normalization="layer")
