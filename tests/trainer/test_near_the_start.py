"""L2-SP and layer-wise learning-rate decay."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from safetensors.torch import load_file
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, ResNetConfig, ResNetForImageClassification

from hf_ood import OODConfig, OODTrainer, VREx
from hf_ood.engine import state_file
from hf_ood.engine.layer_decay import decay_by_layer
from hf_ood.engine.pull_to_start import PullToStart
from hf_ood.models.depths import layer_depths
from hf_ood.models.penultimate import last_linear

RATE, STRENGTH = 0.05, 0.3


def trained(folder: Path, **args: Any) -> OODTrainer:
    settings = {"optim": "sgd", "learning_rate": RATE, "max_steps": 3, "eval_strategy": "no", **args}
    data = {"train_dataset": make_dataset(), "eval_dataset": make_dataset((8, 8, 8), seed=1)}
    trainer = OODTrainer(
        make_model(), make_args(folder, load_best_model_at_end=False, **settings), objective=VREx(), **data
    )
    trainer.train()
    return trainer


def test_the_pull_is_the_gradient_of_half_the_squared_distance_in_float64() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    start = copy.deepcopy(model)
    pull = PullToStart(model, STRENGTH)
    with torch.no_grad():
        for own in model.parameters():
            own.add_(torch.randn_like(own))
    loss = model(torch.randn(5, 3, dtype=torch.float64)).square().mean()
    pairs = list(zip(model[0].parameters(), start[0].parameters(), strict=True))
    whole = loss + sum(STRENGTH / 2 * (own - before.detach()).square().sum() for own, before in pairs)
    expected = torch.autograd.grad(whole, [*model.parameters()], retain_graph=True)
    loss.backward()
    pull.add_to_gradients()
    for own, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(own.grad, gradient, rtol=1e-12, atol=1e-14)
    model[0].bias.grad = None  # at rest
    pull.add_to_gradients()
    assert model[0].bias.grad is None


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_pull_is_added_once_a_step(accumulation: int, tmp_path: Path) -> None:
    """After the first step there is nothing to pull; at the second the pull is strength times the way."""
    batch = {"gradient_accumulation_steps": accumulation, "per_device_train_batch_size": 24 // accumulation}
    one, plain, pulled = (
        trained(tmp_path, max_steps=steps, l2_sp=strength, **batch).model
        for steps, strength in ((1, STRENGTH), (2, 0.0), (2, STRENGTH))
    )
    start, head = make_model(), {id(own) for own in last_linear(pulled).parameters()}
    starts, firsts, seconds = (dict(model.named_parameters()) for model in (start, one, plain))
    for name, own in pulled.named_parameters():
        pull = 0.0 if id(own) in head else STRENGTH * (firsts[name] - starts[name])
        torch.testing.assert_close(own, seconds[name] - RATE * pull, rtol=1e-4, atol=1e-6)


def test_a_resumed_training_is_pulled_to_the_same_start(tmp_path: Path) -> None:
    args = {
        "l2_sp": STRENGTH,
        "max_steps": 4,
        "save_strategy": "steps",
        "save_steps": 2,
        "save_total_limit": 9,
    }
    whole = trained(tmp_path / "whole", **args)
    kept = load_file(tmp_path / "whole" / "checkpoint-2" / state_file("start"))
    starts = dict(make_model().named_parameters())
    assert kept and all(torch.equal(value, starts[name]) for name, value in kept.items())
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", tmp_path / "again" / "checkpoint-2")
    settings = {"optim": "sgd", "learning_rate": RATE, "eval_strategy": "no", **args}
    again = OODTrainer(
        make_model(),
        make_args(tmp_path / "again", load_best_model_at_end=False, **settings),
        objective=VREx(),
        train_dataset=make_dataset(),
        eval_dataset=make_dataset((8, 8, 8), seed=1),
    )
    again.train(resume_from_checkpoint=str(tmp_path / "again" / "checkpoint-2"))
    for name, own in again.model.named_parameters():
        assert torch.equal(own, dict(whole.model.named_parameters())[name])


def bert() -> BertForSequenceClassification:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=9, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8
        )
    )


def test_depths_are_counted_from_the_output() -> None:
    depths = layer_depths(bert())
    for part, depth in {
        "classifier.": 0, "bert.pooler": 0, "bert.encoder.layer.2.": 1, "bert.encoder.layer.0.": 3,
        "bert.embeddings": 4,
    }.items():  # fmt: skip
        assert {found for name, found in depths.items() if name.startswith(part)} == {depth}
    stages = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8, 8], depths=[1, 2, 1], layer_type="basic")
    depths = layer_depths(ResNetForImageClassification(stages))
    assert max(depths.values()) == 4 and depths["classifier.1.weight"] == 0
    assert {found for name, found in depths.items() if ".stages.1." in name} == {2}
    with pytest.raises(ValueError, match=r"has no nn\.ModuleList or nn\.Sequential of several layers"):
        layer_depths(nn.Linear(2, 2))


def test_a_layer_learns_with_its_share_of_the_rate_under_a_schedule() -> None:
    model = bert()
    other = nn.Parameter(torch.zeros(2))
    groups = [
        {"params": [own for own in model.parameters() if own.dim() > 1], "weight_decay": 0.1},
        {"params": [*(own for own in model.parameters() if own.dim() == 1), other], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    decay_by_layer(optimizer, model, 0.5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    depths = {id(own): layer_depths(model)[name] for name, own in model.named_parameters()}
    for times in (1.0, 0.5):
        seen = 0
        for group in optimizer.param_groups:
            for own in group["params"]:
                assert group["lr"] == pytest.approx(times * 0.5 ** depths.get(id(own), 0))
                assert group["weight_decay"] == (0.1 if own.dim() > 1 else 0.0)
                seen += 1
        assert seen == len([*model.parameters()]) + 1
        optimizer.step()
        schedule.step()


def test_layers_of_a_trained_network_move_by_their_share(tmp_path: Path) -> None:
    args = {"max_steps": 1, "weight_decay": 0.0}
    same, falling = (trained(tmp_path, layer_decay=decay, **args).model for decay in (1.0, 0.5))
    starts, plain = dict(make_model().named_parameters()), dict(same.named_parameters())
    depths = layer_depths(falling)
    assert len(set(depths.values())) > 2
    for name, own in falling.named_parameters():
        expected = starts[name] + 0.5 ** depths[name] * (plain[name] - starts[name])
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-6)


def test_what_would_do_nothing_is_refused(tmp_path: Path) -> None:
    changes: dict[str, Any]
    for changes, message in (
        ({"l2_sp": -1.0}, "l2_sp must be at least 0"),
        ({"layer_decay": 0.0}, "layer_decay must lie above 0"),
        ({"layer_decay": 1.5}, "layer_decay must lie above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            OODConfig(str(tmp_path), **changes)
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="give its groups their rates"):
        OODTrainer(
            model,
            make_args(tmp_path, layer_decay=0.5),
            train_dataset=make_dataset(),
            eval_dataset=make_dataset((8, 8, 8), seed=1),
            optimizers=(optimizer, None),
        )
    for own in model.parameters():
        own.requires_grad_(False)
    for own in last_linear(model).parameters():
        own.requires_grad_(True)
    with pytest.raises(ValueError, match="leave l2_sp out"):
        PullToStart(model, 0.1)
