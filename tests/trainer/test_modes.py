"""Whoever passes samples through a network leaves each of its modules in the mode it had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import make_dataset
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification, set_seed

from hf_ood.data import collate
from hf_ood.discovery import Reference
from hf_ood.engine import unused_parameters
from hf_ood.explain import attribution_report, grad_cam
from hf_ood.models import batch_norms, find_feature_layer
from hf_ood.trainer import cached_features

DATASET = make_dataset((4, 4))


def make_frozen() -> ResNetForImageClassification:
    """A network in training mode, whose first two normalisations its owner has frozen."""
    set_seed(0)
    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=2
    )
    model = ResNetForImageClassification(config).train()
    for norm in batch_norms(model)[:2]:
        norm.eval()
    return model


def pixels() -> torch.Tensor:
    return collate(DATASET.__getitems__(range(len(DATASET))))["pixel_values"]


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


HELPERS: dict[str, Callable[[Any], Any]] = {
    "cached_features": lambda model: cached_features(model, DATASET),
    "reference": lambda model: Reference.of(model, DATASET),
    "reference_with_features": lambda model: Reference.of(model, DATASET, features=True),
    "grad_cam": lambda model: grad_cam(model, pixels()),
    "attribution_report": lambda model: attribution_report(model, DATASET, 2),
    "find_feature_layer": lambda model: find_feature_layer(model, {"pixel_values": pixels()}),
    "unused_parameters": lambda model: unused_parameters(model, {"pixel_values": pixels()}),
}


@pytest.mark.parametrize("helper", HELPERS)
def test_frozen_norms_stay_frozen_and_statistics_stay_as_they_are(helper: str) -> None:
    model = make_frozen()
    before = modes(model), {name: value.clone() for name, value in model.named_buffers()}
    assert True in before[0] and False in before[0]
    HELPERS[helper](model)
    assert modes(model) == before[0]
    for name, value in model.named_buffers():
        assert torch.equal(value, before[1][name]), name


@pytest.mark.parametrize("helper", ["cached_features", "reference", "grad_cam", "attribution_report"])
def test_modes_are_put_back_after_an_error_too(helper: str) -> None:
    model = make_frozen()
    before = modes(model)

    def fail(*args: Any) -> None:
        raise KeyError("in the middle of a pass")

    hook = model.classifier.register_forward_pre_hook(fail)
    with pytest.raises(KeyError, match="in the middle of a pass"):
        HELPERS[helper](model)
    hook.remove()
    assert modes(model) == before
