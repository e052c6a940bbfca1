"""Features and head of many families, found and exchanged by one mechanism."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from backbones import BACKBONES, LANGUAGE, make_backbone, make_inputs
from conftest import make_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_ood import RSC
from hf_ood.methods.masking import rsc
from hf_ood.models import FeatureLayer, FeatureSplit, Penultimate, find_feature_layer
from hf_ood.models.features import features_of

# Where only a class token is read, the last block mixes the others into it and belongs to the head.
EXPECTED = {
    "resnet": "resnet.encoder",
    "convnext": "convnext.encoder",
    "vit": "vit.layers.0",
    "deit": "deit.layers.0",
    "swin": "swin.layernorm",
    "dinov2": "dinov2",
    "beit": "beit.layernorm",
    "mobilenet_v2": "mobilenet_v2.conv_1x1",
    "efficientnet": "efficientnet.encoder",
    "regnet": "regnet.encoder",
    "bert": "bert.encoder.layer.0",
    "roberta": "roberta.encoder.layer.0",
    "distilbert": "distilbert.transformer.layer.0",
    "deberta-v2": "deberta.encoder.layer.0",
    "modernbert": "model.layers.0",
    "albert": "albert.encoder.albert_layer_groups.0",
}
every_family = pytest.mark.parametrize("name", BACKBONES)


def make_split(name: str) -> tuple[PreTrainedModel, dict[str, Tensor], FeatureSplit]:
    model, inputs = make_backbone(name).eval(), make_inputs(name)
    return model, inputs, FeatureSplit(model, find_feature_layer(model, inputs))


@contextmanager
def changed(split: FeatureSplit, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """The same by hand: a hook that changes the layer's output wherever it holds the features."""
    calls = iter(range(10))

    def hook(module: nn.Module, _: Any, output: Any) -> Any:
        if next(calls) != split.layer.call:
            return None
        features = features_of(output)
        if isinstance(output, Tensor):
            return change(features)
        if isinstance(output, tuple):
            return change(features), *output[1:]
        output.last_hidden_state = change(features)
        return output

    handle = split.module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def gradients(model: nn.Module, loss: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [torch.zeros(()) if gradient is None else gradient for gradient in found]


@every_family
def test_the_layer_is_found_and_nothing_is_left_behind(name: str) -> None:
    model, inputs = make_backbone(name).train(), make_inputs(name)
    hooks = [len(module._forward_hooks) for module in model.modules()]
    layer = find_feature_layer(model, inputs)
    assert layer.name == EXPECTED[name]
    assert layer.class_token == (name in ("vit", "deit", *LANGUAGE))
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@every_family
def test_a_transform_that_changes_nothing_changes_nothing(name: str) -> None:
    """Nor does calling the head, under dropout and with batch statistics that advance once."""
    model, inputs, split = make_split(name)
    model.train()
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    torch.manual_seed(0)
    plain = model(**inputs)
    plain_gradients = gradients(model, plain.loss)
    after = {key: value.clone() for key, value in model.named_buffers()}
    seen: list[Tensor] = []

    def look(features: Tensor, head: Callable[[Tensor], Tensor], labels: Tensor, **places: Tensor) -> Tensor:
        assert labels is inputs["labels"]
        seen.append(head(features))
        head(2 * features)
        return features

    with torch.no_grad():
        for key, value in model.named_buffers():
            value.copy_(buffers[key])
    torch.manual_seed(0)
    with split.transformed(look, inputs):
        output = model(**inputs)
    assert torch.equal(output.logits, plain.logits)
    assert torch.equal(seen[0], plain.logits)
    for ours, theirs in zip(gradients(model, output.loss), plain_gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
    for key, value in model.named_buffers():
        assert torch.equal(value, after[key]), key
    assert "forward" not in vars(split.module)


@every_family
def test_the_head_runs_on_what_the_transform_gives(name: str) -> None:
    model, inputs, split = make_split(name)
    heads: list[Tensor] = []

    def shift(features: Tensor, head: Callable[[Tensor], Tensor], labels: Tensor, **places: Tensor) -> Tensor:
        changed_features = features * torch.linspace(-1, 1, features.shape[1]).view(
            1, -1, *[1] * (features.dim() - 2)
        )
        heads.append(head(changed_features))
        return changed_features

    with split.transformed(shift, inputs):
        output = model(**inputs)
    with changed(split, lambda features: shift(features, lambda _: features, inputs["labels"])):
        expected = model(**inputs)
    assert not torch.allclose(model(**inputs).logits, expected.logits)
    torch.testing.assert_close(output.logits, expected.logits)
    torch.testing.assert_close(heads[0], expected.logits)
    for ours, theirs in zip(gradients(model, output.loss), gradients(model, expected.loss), strict=True):
        torch.testing.assert_close(ours, theirs)


def by_hand(mask: str, gradient: Tensor, features: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The mask, and for which samples it is the only one.

    0 on the tenth of the channels with the largest mean absolute gradient, or on the tenth of the `places`
    [B, P] with the largest class activation.
    """
    gradient, features = (
        (values if values.dim() == 4 else values.transpose(1, 2)).flatten(2)
        for values in (gradient, features)
    )
    activation = (gradient.mean(2, keepdim=True) * features).sum(1)
    expected, unique = torch.ones_like(features), torch.ones(len(features), dtype=torch.bool)
    for row, allowed in enumerate(places):
        if mask == "channel":
            order = gradient[row].abs().mean(1).argsort(descending=True)
            expected[row, order[: math.ceil(len(order) / 10)]] = 0
        else:
            order = activation[row].masked_fill(~allowed, -torch.inf).argsort(descending=True)
            dropped = order[: math.ceil(int(allowed.sum()) / 10)]
            unique[row] = activation[row, dropped].min() > 0  # among zeros there is no order
            expected[row][:, dropped] = 0
    return expected, unique


@pytest.mark.parametrize("mask", ["channel", "spatial"])
@every_family
def test_rsc_masks_what_the_true_class_leans_on(name: str, mask: str) -> None:
    model, inputs, split = make_split(name)
    kept: list[Tensor] = []
    with changed(split, lambda features: (kept.append(features), features)[1]):  # type: ignore[func-returns-value]
        logits = model(**inputs).logits
    (gradient,) = torch.autograd.grad(logits.gather(1, inputs["labels"][:, None]).sum(), kept)
    features = kept[0].detach()
    places = torch.ones(
        len(features), features[0, 0].numel() if features.dim() == 4 else features.shape[1]
    ).bool()
    if name in LANGUAGE:
        places = inputs["attention_mask"].bool()
    if split.layer.class_token:
        places[:, 0] = False
    expected_mask, unique = by_hand(mask, gradient, features, places)
    if features.dim() == 3:
        expected_mask = expected_mask.transpose(1, 2)
    with changed(split, lambda features: features * expected_mask.reshape(features.shape)):
        expected = model(**inputs).logits
    method = RSC(mask=mask, drop_rate=0.1, restoration="none")
    with split.transformed(method, inputs):
        output = model(**inputs)
    assert unique.any()
    torch.testing.assert_close(output.logits[unique], expected[unique])
    assert not torch.allclose(expected[unique], logits[unique], rtol=1e-3)


@every_family
def test_the_penultimate_features_make_the_logits(name: str) -> None:
    """With RSC too, whose own runs of the head come before the one that counts."""
    model, inputs, split = make_split(name)
    with Penultimate(model) as penultimate, split.transformed(RSC(mask="channel"), inputs):
        logits = model(**inputs).logits
    features = penultimate.take()
    assert features.dim() == 2 and features.requires_grad
    torch.testing.assert_close(penultimate.classifier(features), logits)


def test_our_own_networks_split_as_they_do_by_themselves() -> None:
    """LeNet's pooling runs twice; its second output is what `forward_features` gives."""
    model, images = make_model().eval(), torch.rand(4, 3, 28, 28)
    inputs = {"pixel_values": images, "labels": torch.tensor([0, 1, 1, 0])}
    layer = find_feature_layer(model, inputs)
    assert layer == FeatureLayer("pool", call=1)
    method = RSC(mask="channel")
    with FeatureSplit(model, layer).transformed(method, inputs):
        logits = model(**inputs).logits
    torch.testing.assert_close(logits, model(**inputs, feature_transform=method).logits)


def test_a_layer_can_be_named_and_may_give_vectors() -> None:
    model, inputs = make_backbone("bert").eval(), make_inputs("bert")
    split = FeatureSplit(model, find_feature_layer(model, inputs, "bert.pooler"))
    with split.transformed(lambda features, head, labels: 0 * features, inputs):
        logits = model(**inputs).logits
    torch.testing.assert_close(logits, model.classifier.bias.expand_as(logits))


@pytest.mark.parametrize(
    ("layer", "message"),
    [("bert.poler", "Did you mean 'bert.pooler'"), ("bert.encoder.layer", "gives no features")],
)
def test_a_layer_that_cannot_be_it_is_refused(layer: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_feature_layer(make_backbone("bert"), make_inputs("bert"), layer)


def test_a_pass_that_does_not_reach_the_layer_is_an_error() -> None:
    model, inputs, split = make_split("resnet")
    with pytest.raises(RuntimeError, match=r"resnet\.encoder did not run"), split.transformed(RSC(), inputs):
        model.resnet.embedder(inputs["pixel_values"])


def test_the_challenge_of_a_ragged_batch_counts_its_own_places() -> None:
    importance = torch.tensor([[9.0, 5, 7, 6, 8], [9, 1, 2, 3, 4]])
    places = torch.tensor([[False, True, True, True, True], [False, True, True, False, False]])
    expected = torch.tensor([[1.0, 1, 0, 1, 0], [1, 1, 0, 1, 1]])
    assert torch.equal(rsc.challenge_mask(importance, 0.5, places), expected)
    assert rsc.challenge_mask(importance, 0.0, places).all()
    every = torch.ones_like(places)
    assert torch.equal(rsc.challenge_mask(importance, 1 / 3, every), rsc.challenge_mask(importance, 1 / 3))
