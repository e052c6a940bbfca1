"""What a network never uses is frozen, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from backbones import BACKBONES, make_backbone, make_inputs
from conftest import make_args, make_dataset
from torch import Tensor, nn

from hf_ood import LeNetConfig, LeNetForImageClassification, OODTrainer
from hf_ood.engine import unused_parameters
from hf_ood.models import batch_norms


def inputs_of(name: str) -> dict[str, Tensor]:
    return make_inputs(name, batch=2)


def test_only_the_mask_token_of_dinov2_is_unused() -> None:
    found = {name: list(unused_parameters(make_backbone(name), inputs_of(name))) for name in BACKBONES}
    assert {name: names for name, names in found.items() if names} == {
        "dinov2": ["dinov2.embeddings.mask_token"]
    }


def test_looking_leaves_no_trace() -> None:
    model = make_backbone("resnet").train()
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    state = torch.get_rng_state()
    assert unused_parameters(model, inputs_of("resnet")) == {}
    assert model.training and torch.equal(torch.get_rng_state(), state)
    assert batch_norms(model) and all(torch.equal(buffers[name], own) for name, own in model.named_buffers())
    assert all(parameter.grad is None for parameter in model.parameters())


class Dropping(LeNetForImageClassification):
    """A layer that a training pass leaves out, and one that only the network's own loss reads."""

    def __init__(self, config: LeNetConfig):
        super().__init__(config)
        self.sometimes, self.own, self.never = (nn.Parameter(torch.ones(())) for _ in range(3))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        if self.training:
            output["auxiliary_loss"] = self.own * torch.ones(len(output.logits))
        else:
            output.logits = output.logits * self.sometimes
        return output


def test_what_is_dropped_while_training_or_serves_the_own_loss_trains(tmp_path: Path) -> None:
    model = Dropping(LeNetConfig())
    trainer = OODTrainer(model, make_args(tmp_path), train_dataset=make_dataset())
    assert all(own.requires_grad for own in model.parameters())  # looked at when training begins
    trainer.train()
    assert [name for name, own in model.named_parameters() if not own.requires_grad] == ["never"]


def test_a_frozen_network_has_nothing_to_look_at() -> None:
    assert unused_parameters(make_backbone("vit").requires_grad_(False), inputs_of("vit")) == {}
