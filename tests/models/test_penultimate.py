"""The features of a classifier are what its last linear layer sees."""

from __future__ import annotations

import pytest
import torch
from conftest import make_dataset, make_model
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from hf_ood import RSC, MLPConfig, MLPForImageClassification
from hf_ood.models import Penultimate

IMAGES = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


def resnet() -> nn.Module:
    return ResNetForImageClassification(
        ResNetConfig(embedding_size=4, hidden_sizes=[8, 12], depths=[1, 1], num_labels=3)
    )


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (make_model(), {"pixel_values": IMAGES}),
        (MLPForImageClassification(MLPConfig(num_labels=2)), {"pixel_values": IMAGES}),
        (resnet(), {"pixel_values": IMAGES}),
        (
            ViTForImageClassification(ViTConfig(image_size=28, patch_size=14, num_labels=3, **SMALL)),
            {"pixel_values": IMAGES},
        ),
        (
            BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=3, **SMALL)),
            {"input_ids": torch.arange(12).view(4, 3)},
        ),
    ],
    ids=["lenet", "mlp", "resnet", "vit", "bert"],
)
def test_the_classifier_makes_the_logits_of_them(model: nn.Module, inputs: dict) -> None:
    penultimate = Penultimate(model.eval())
    with penultimate:
        logits = model(**inputs).logits
    features = penultimate.take()
    assert features.dim() == 2 and features.requires_grad
    torch.testing.assert_close(penultimate.classifier(features), logits)
    model(**inputs)
    with pytest.raises(RuntimeError, match="not called"):
        penultimate.take()


def test_with_rsc_they_are_those_of_the_pass_that_gives_the_logits() -> None:
    model, labels = make_model(), make_dataset((4,)).labels
    penultimate = Penultimate(model)
    with penultimate:
        logits = model(IMAGES, labels=labels, feature_transform=RSC(mask="channel")).logits
    torch.testing.assert_close(penultimate.classifier(penultimate.take()), logits)


def test_they_are_found_in_a_compiled_model() -> None:
    model = make_model()
    compiled = torch.compile(model, backend="eager")
    penultimate = Penultimate(model)
    for images in (IMAGES, IMAGES + 1):
        with penultimate:
            logits = compiled(images).logits
        torch.testing.assert_close(penultimate.classifier(penultimate.take()), logits)


def test_a_sequence_is_averaged() -> None:
    head = nn.Linear(5, 2)
    penultimate = Penultimate(head)
    tokens = torch.randn(3, 7, 5)
    with penultimate:
        head(tokens)
    torch.testing.assert_close(penultimate.take(), tokens.mean(1))


def test_a_model_without_a_linear_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="Sequential has no"):
        Penultimate(nn.Sequential(nn.Conv2d(3, 2, 1)))
