"""LoRA adapters under every additive objective, with a transform of features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from backbones import make_backbone, make_inputs
from conftest import make_args, make_dataset
from torch import nn

from hf_ood import RSC, OODTrainer
from hf_ood.methods.objectives import OBJECTIVES
from hf_ood.models import Penultimate, find_feature_layer

peft = pytest.importorskip("peft")
ADDITIVE = [name for name, cls in OBJECTIVES.items() if cls.additive]


def adapted() -> nn.Module:
    config = peft.LoraConfig(target_modules="all-linear", r=2, modules_to_save=["classifier"])
    return peft.get_peft_model(make_backbone("vit", num_labels=2), config)


def test_layer_and_classifier_are_found_inside_the_wrapper() -> None:
    model = adapted()
    assert find_feature_layer(model, make_inputs("vit")).name == "base_model.model.vit.layers.0"
    assert Penultimate(model).classifier is model.base_model.model.classifier.modules_to_save["default"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ADDITIVE)
def test_adapters_and_head_learn_and_nothing_else(name: str, tmp_path: Path) -> None:
    model = adapted()
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    OODTrainer(
        model,
        make_args(tmp_path, max_steps=2),
        objective=OBJECTIVES[name](),
        feature_transform=RSC(),
        train_dataset=make_dataset(),
    ).train()
    moved = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    assert moved == {key for key, parameter in model.named_parameters() if parameter.requires_grad}


def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    def train(folder: str, checkpoint: str | None = None, **args: object) -> nn.Module:
        model = adapted()
        trainer = OODTrainer(
            model, make_args(tmp_path / folder, **args), feature_transform=RSC(), train_dataset=make_dataset()
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        return model

    whole = train("whole")
    train("parts", save_strategy="steps", save_steps=2)
    resumed = train("parts", str(tmp_path / "parts" / "checkpoint-2"))
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
