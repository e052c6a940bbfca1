"""A network of the objective's own: optimised and saved with the model, and never part of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from safetensors.torch import load_file
from torch.nn.utils import parameters_to_vector
from transformers import TrainerCallback

from hf_ood import CDANN, DANN, ERM, OODTrainer
from hf_ood.data import EnvironmentDataset
from hf_ood.engine.own_parameters import build_networks
from hf_ood.methods.updates import SAM
from hf_ood.models import Penultimate
from hf_ood.trainer.checks import check_own_networks


def test_without_weight_the_network_learns_as_under_erm(dataset: EnvironmentDataset, tmp_path: Path) -> None:
    """The discriminator's first weights and its steps leave the network and the random state alone."""
    found = []
    for objective in (ERM(), CDANN(weight=0.0)):
        trainer = OODTrainer(make_model(), make_args(tmp_path), objective=objective, train_dataset=dataset)
        trainer.train()
        found.append(trainer.model.state_dict())
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_the_checkpoint_holds_the_discriminator_and_the_model_does_not(
    dataset: EnvironmentDataset, tmp_path: Path
) -> None:
    args = make_args(tmp_path, save_strategy="steps", save_steps=4)
    trainer = OODTrainer(make_model(), args, objective=DANN(width=8), train_dataset=dataset)
    trainer.train()
    objective = trainer.objective
    checkpoint = tmp_path / "checkpoint-4"
    saved = load_file(checkpoint / "objective.safetensors")
    assert saved.keys() == objective.state_dict().keys() and saved
    for name, value in objective.state_dict().items():
        assert torch.equal(saved[name], value)
    assert load_file(checkpoint / "model.safetensors").keys() == make_model().state_dict().keys()


def test_its_first_weights_depend_on_the_seed_alone(dataset: EnvironmentDataset, tmp_path: Path) -> None:
    """So they are the same on every process, whatever was drawn there before."""
    model, found = make_model(), []
    for seed, drawn in ((1, 0), (1, 5), (2, 0)):
        args = make_args(tmp_path, seed=seed)
        objective = DANN(width=8)
        torch.rand(drawn)
        before = torch.get_rng_state()
        build_networks(objective, Penultimate(model), dataset, torch.device("cpu"), seed)
        assert torch.equal(torch.get_rng_state(), before)
        found.append(objective.parameters()[0])
        trainer = OODTrainer(model, args, objective=DANN(width=8), train_dataset=dataset)
        assert torch.equal(trainer.objective.parameters()[0], found[-1])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_it_has_a_group_of_its_own_in_the_optimizer_once(dataset: EnvironmentDataset, tmp_path: Path) -> None:
    args = make_args(tmp_path, learning_rate=1e-3, weight_decay=0.1, lr_scheduler_type="linear")
    given = DANN(width=8, learning_rate_factor=0.5)
    trainer = OODTrainer(make_model(), args, objective=given, train_dataset=dataset)
    objective = trainer.objective
    trainer.train()
    trainer.train()
    groups = [group for group in trainer.optimizer.param_groups if group["params"]]
    own = [group for group in groups if group["params"][0] is objective.parameters()[0]]
    assert len(own) == 1 and own[0]["weight_decay"] == 0
    assert own[0]["initial_lr"] == 5e-4 and groups[0]["initial_lr"] == 1e-3
    assert own[0]["lr"] == pytest.approx(groups[0]["lr"] / 2)


def test_an_optimizer_that_is_given_gets_it_too(dataset: EnvironmentDataset, tmp_path: Path) -> None:
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    trainer = OODTrainer(
        model,
        make_args(tmp_path),
        objective=DANN(width=8),
        train_dataset=dataset,
        optimizers=(optimizer, None),
    )
    objective = trainer.objective
    before = [parameter.detach().clone() for parameter in objective.parameters()]
    trainer.train()
    assert not any(torch.equal(p, old) for p, old in zip(objective.parameters(), before, strict=True))


def test_the_discriminator_learns_and_features_resist(tmp_path: Path) -> None:
    """Environments differ in brightness: a discriminator on free features tells them apart better than one
    whose features resist."""
    data = make_dataset((60, 60), floats=True)
    data.columns["pixel_values"] = (
        data.columns["pixel_values"] * 0.5 + data.environments[:, None, None, None] * 0.4
    )
    losses = []
    for weight in (0.0, 3.0):
        objective = DANN(weight=weight, schedule="constant", width=32)
        args = make_args(tmp_path, max_steps=40, logging_steps=20, learning_rate=3e-3)
        trainer = OODTrainer(make_model(), args, objective=objective, train_dataset=data)
        trainer.train()
        losses.append(trainer.state.log_history[1]["discriminator_loss"])
    assert losses[0] < 0.4 < 0.6 < losses[1]


def test_beside_an_update_it_is_refused(dataset: EnvironmentDataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dann trains a network of its own, which sam would not move"):
        OODTrainer(make_model(), make_args(tmp_path), objective=DANN(), update=SAM(), train_dataset=dataset)


def test_engines_that_shard_are_refused() -> None:
    objective = DANN()
    check_own_networks(objective, None, sharded=True)  # nothing is built yet
    objective.build(4, 2, torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="dann trains a network of its own"):
        check_own_networks(objective, None, sharded=True)


def test_players_take_turns_and_the_one_that_rests_stands_still(
    dataset: EnvironmentDataset, tmp_path: Path
) -> None:
    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path, max_steps=7, weight_decay=0.1),
        objective=DANN(width=8, discriminator_steps=2, schedule="constant"),
        train_dataset=dataset,
        callbacks=[seen := _Weights()],
    )
    seen.objective = trainer.objective
    trainer.train()
    network, discriminator = (
        [not torch.equal(a, b) for a, b in pairwise(history)] for history in (seen.network, seen.own)
    )
    assert network == [False, False, True, False, False, True, False]
    assert discriminator == [True, True, False, True, True, False, True]


class _Weights(TrainerCallback):
    """The weights of both players before training and after every step."""

    objective: DANN

    def __init__(self) -> None:
        self.network: list[torch.Tensor] = []
        self.own: list[torch.Tensor] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.network.append(parameters_to_vector(model.parameters()).detach().clone())
        self.own.append(parameters_to_vector(self.objective.parameters()).detach().clone())

    on_step_end = on_train_begin
