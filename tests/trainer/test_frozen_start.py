"""The network at its start, which runs beside the one that trains: MIRO in a trainer."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import make_args, make_dataset, make_model
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from hf_ood import MIRO, SAM, HeadSpec, OODConfig, OODTrainer, fit_heads
from hf_ood.engine import FrozenStart, state_file
from hf_ood.models import Penultimate
from hf_ood.trainer import cached_features, fit_head
from hf_ood.trainer.linear_probe import Probe

RATE, CPU = 0.05, torch.device("cpu")


def make_trainer(
    folder: Path, model: nn.Module | None = None, weight: float = 5.0, **args: Any
) -> OODTrainer:
    settings = {"optim": "sgd", "learning_rate": RATE, "lr_scheduler_type": "constant", **args}
    objective = MIRO(weight=weight, initial_variance=1.0, learning_rate_factor=2.0)
    return OODTrainer(
        model or make_model(),
        make_args(folder, **settings),
        objective=objective,
        train_dataset=make_dataset(),
    )


@pytest.mark.parametrize("accumulation", [1, 3])
def test_two_steps_are_those_of_a_plain_loop(accumulation: int, tmp_path: Path) -> None:
    """All samples at each step, whatever their order: the second has moved away from the start."""
    batch: dict[str, Any] = {
        "per_device_train_batch_size": 180 // accumulation,
        "gradient_accumulation_steps": accumulation,
    }
    trainer = make_trainer(tmp_path, max_steps=2, max_grad_norm=0.0, **batch)
    trainer.train()
    model, data = make_model(), make_dataset()
    start, width = copy.deepcopy(model).eval(), Penultimate(model).classifier.in_features
    raw = torch.tensor(1 - 1e-5).expm1().log().repeat(width).requires_grad_()
    images, penalties = data.columns["pixel_values"].float() / 255, []
    for _ in range(2):
        logits, features = run(model, images)
        with torch.no_grad():
            _, kept = run(start, images)
        variance = F.softplus(raw) + 1e-5
        penalty = (((features - kept) ** 2 / variance) + variance.log()).mean() / 2
        loss = F.cross_entropy(logits, data.labels) + 5 * penalty
        moving = [*model.parameters(), raw]
        for own, gradient in zip(moving, torch.autograd.grad(loss, moving), strict=True):
            own.data -= gradient * RATE * (2 if own is raw else 1)
        penalties.append(penalty.item())
    found = [row["miro_penalty"] for row in trainer.state.log_history if "miro_penalty" in row]
    assert found == pytest.approx(penalties, rel=1e-4) and found[1] != found[0]
    torch.testing.assert_close(trainer.objective.raw_variance, raw, rtol=1e-4, atol=1e-6)
    for own, expected in zip(trainer.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-6)


def run(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    penultimate = Penultimate(model)
    with penultimate:
        logits = model(images).logits
    return logits, penultimate.take()


def test_a_heavy_weight_holds_features_at_the_start(tmp_path: Path) -> None:
    images, distances = make_dataset().columns["pixel_values"].float() / 255, []
    adam: dict[str, Any] = {"optim": "adamw_torch", "learning_rate": 2e-3, "max_steps": 30}
    for weight in (0.0, 30.0):
        trainer = make_trainer(tmp_path, weight=weight, **adam)
        trainer.train()
        with torch.no_grad():
            ends = [run(model.eval(), images)[1] for model in (trainer.model, make_model())]
        distances.append((ends[0] - ends[1]).square().mean().item())
    assert distances[1] < distances[0] / 4


def test_a_resumed_training_compares_with_the_same_start(tmp_path: Path) -> None:
    """Also when it is resumed on a network of other weights, which the checkpoint replaces."""
    args: dict[str, Any] = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "save_total_limit": 9}
    whole = make_trainer(tmp_path / "whole", **args)
    whole.train()
    kept = load_file(tmp_path / "whole" / "checkpoint-2" / state_file("frozen_start"))
    starts = dict(make_model().named_parameters())
    assert all(torch.equal(kept[name], value) for name, value in starts.items())
    assert load_file(tmp_path / "whole" / "checkpoint-4" / "model.safetensors").keys() == starts.keys()
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", tmp_path / "again" / "checkpoint-2")
    other = make_model()
    with torch.no_grad():
        for own in other.parameters():
            own.mul_(1.5)
    again = make_trainer(tmp_path / "again", other, **args)
    again.train(resume_from_checkpoint=str(tmp_path / "again" / "checkpoint-2"))
    for own, expected in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(own, expected)
    assert torch.equal(again.objective.raw_variance, whole.objective.raw_variance)


def test_the_copy_is_whole_still_and_of_its_own() -> None:
    """Whatever Accelerate has put around the forward pass, and with weights that two layers share."""
    config: dict[str, Any] = {
        "vocab_size": 9,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_labels": 3,
    }
    model = BertForSequenceClassification(BertConfig(**config, intermediate_size=8)).train()
    inputs = {"input_ids": torch.arange(1, 7).view(2, 3)}
    before = dict(model.named_parameters())["classifier.weight"].clone()
    model._original_forward = forward = model.forward
    model.forward = lambda **inputs: forward(**inputs)
    start = FrozenStart(model, CPU)
    first = start.features(lambda network: network(**inputs))
    with torch.no_grad():
        for own in model.parameters():
            own.add_(1.0)
    assert model.training and all(own.requires_grad for own in model.parameters())
    assert first.shape == (2, 8) and not first.requires_grad
    torch.testing.assert_close(start.features(lambda network: network(**inputs)), first)
    assert torch.equal(start.state_dict()["classifier.weight"], before)


def test_mixed_precision_runs_both_networks_alike(tmp_path: Path) -> None:
    """At the first step nothing has moved: what is left of the distance is not that of bfloat16."""
    trainer = make_trainer(tmp_path, max_steps=1, bf16=True)
    trainer.train()
    assert trainer.state.log_history[0]["miro_penalty"] == pytest.approx(0, abs=1e-7)


def test_where_features_stay_as_they_are_it_is_refused(tmp_path: Path) -> None:
    model = make_model()
    head = {id(own) for own in Penultimate(model).classifier.parameters()}
    for own in model.parameters():
        own.requires_grad_(id(own) in head)
    with pytest.raises(ValueError, match="miro holds features near those of the network at its start"):
        make_trainer(tmp_path, model).train()
    features = cached_features(make_model(), make_dataset())
    size = features.columns["inputs"].shape[1]
    with pytest.raises(ValueError, match=r"miro holds features near those .* cached ones stay"):
        fit_head(nn.Linear(size, 2), features, MIRO(), steps=1)
    training = OODConfig(str(tmp_path), per_device_train_batch_size=60, max_steps=1, use_cpu=True)
    with pytest.raises(ValueError, match="nothing below the last linear layer trains"):
        fit_heads(features, [HeadSpec("miro")], training, network=lambda: Probe(make_model()))


def test_an_update_would_not_move_its_variances(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="miro trains a network of its own, which sam would not move"):
        OODTrainer(
            make_model(), make_args(tmp_path), objective=MIRO(), update=SAM(), train_dataset=make_dataset()
        )
