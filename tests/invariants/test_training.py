"""Laws of training: all parameters move, runs repeat and resume exactly, environment ids arrive intact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_dataset
from one_step import with_own_partners
from torch import Tensor, nn
from transformers import set_seed

from hf_ood import (
    ERM,
    DisentangledVAEConfig,
    DisentangledVAEForImageClassification,
    LeNetConfig,
    LeNetForImageClassification,
    OODConfig,
    OODTrainer,
)
from hf_ood.data import EnvironmentDataset
from hf_ood.methods.objectives import Objective, Outputs, Sums
from hf_ood.methods.registry import FEATURE_TRANSFORMS, METHODS, OBJECTIVES, build_method

COMBINED = ("irm", "coral", "fishr", "dann")
# Every feature transform under a penalty on logits, on features, on gradients, and beside a network of
# the objective's own.
COMBINATIONS = [f"{objective}+{transform}" for objective in COMBINED for transform in FEATURE_TRANSFORMS]
ALL_METHODS = [*METHODS, *(pytest.param(method, marks=pytest.mark.slow) for method in COMBINATIONS)]
RESUMED_TOO = [
    *((method, 1) for method in COMBINATIONS),
    *((name, 2) for name, cls in OBJECTIVES.items() if cls.additive),
    ("irm+rsc", 2),
    ("irm+rsc+mixup+sam+ema", 2),
    ("irm+mixup+ema", 2),
    ("fish", 2),
]
EARLY = ("warmup_steps", "burn_in_steps")  # 1, so that a few steps see what a method does before and after


def options(method: str) -> dict[str, dict[str, int]]:
    parts = {name: cls for name, cls in METHODS.items() if name in method.split("+")}
    return {
        name: {field.name: 1 for field in fields(cls) if field.name in EARLY} for name, cls in parts.items()
    }


def make_trainer(
    folder: Path,
    method: str = "erm",
    data: EnvironmentDataset | None = None,
    model: nn.Module | None = None,
    **args: Any,
) -> OODTrainer:
    set_seed(0)
    built = build_method(method, options(method))
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 24,
        "max_steps": 6,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    validates = built.averaging is not None and built.averaging.needs_validation
    if validates:
        defaults |= {"eval_strategy": "steps", "eval_steps": 2}
    return OODTrainer(
        model or LeNetForImageClassification(LeNetConfig(instance_norm=True, edge_branch=True)),
        OODConfig(output_dir=str(folder), **{**defaults, **args}),
        **vars(built),
        train_dataset=data or make_dataset(),
        eval_dataset=make_dataset((8, 8, 8), seed=1) if validates else None,
    )


def weights(trainer: OODTrainer) -> dict[str, Tensor]:
    """The network's weights, and those of the objective's own network."""
    found = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    own = trainer.objective.parameters()
    return found | {f"own.{number}": parameter.detach().clone() for number, parameter in enumerate(own)}


@pytest.mark.parametrize("method", ALL_METHODS)
def test_every_parameter_moves(method: str, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, method)
    before = weights(trainer)
    trainer.train()
    still = [name for name, parameter in weights(trainer).items() if torch.equal(parameter, before[name])]
    assert still == []


@pytest.mark.slow
@pytest.mark.parametrize(("method", "accumulation"), [*((method, 1) for method in METHODS), *RESUMED_TOO])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(
    method: str, accumulation: int, tmp_path: Path
) -> None:
    settings = {
        "gradient_accumulation_steps": accumulation,
        "per_device_train_batch_size": 24 // accumulation,
    }
    whole = make_trainer(tmp_path / "whole", method, **settings)
    whole.train()
    make_trainer(tmp_path / "parts", method, save_strategy="steps", save_steps=4, **settings).train()
    resumed = make_trainer(tmp_path / "parts", method, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-4"))
    for name, parameter in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], parameter, rtol=0, atol=0, msg=name)
    for name, value in whole.objective.state_dict().items():
        assert torch.equal(resumed.objective.state_dict()[name], value), name


@dataclass
class Counting(ERM):
    """ERM that counts its updates: an objective's state is saved, restored, and advanced once a step."""

    name = "counting"
    linear = False
    updates: Tensor | None = None

    def update(self, totals: Sums, step: int) -> None:
        self.updates = (torch.zeros(()) if self.updates is None else self.updates) + 1

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.updates is None else {"updates": self.updates}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.updates = state["updates"]


def test_the_objectives_state_advances_once_a_step_and_survives_resuming(tmp_path: Path) -> None:
    settings = {"gradient_accumulation_steps": 3, "per_device_train_batch_size": 6}
    first = make_trainer(tmp_path, save_strategy="steps", save_steps=4, **settings)
    first.objective = Counting()
    first.train()
    assert first.objective.updates == 6
    resumed = make_trainer(tmp_path, **settings)
    resumed.objective = Counting()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert resumed.objective.updates == 6


class DropoutAndBatchNorm(LeNetForImageClassification):
    """The two things that a second forward pass could disturb."""

    def __init__(self, config: LeNetConfig):
        super().__init__(config)
        self.batch_norm = nn.BatchNorm2d(3, momentum=0.5)
        self.dropout = nn.Dropout(0.5)

    def forward_features(self, pixel_values: Tensor) -> Tensor:
        return self.dropout(super().forward_features(self.batch_norm(pixel_values)))


def make_autoencoder() -> nn.Module:
    return DisentangledVAEForImageClassification(DisentangledVAEConfig(decoder_size=16))


@pytest.mark.parametrize(
    "make_model", [lambda: DropoutAndBatchNorm(LeNetConfig()), make_autoencoder], ids=["dropout", "sampling"]
)
def test_the_pass_that_collects_totals_leaves_no_trace(
    make_model: Callable[[], nn.Module], tmp_path: Path
) -> None:
    """With dropout and sampling replayed and batch statistics restored, V-REx of weight 0 accumulates exactly
    as ERM does, which needs no such pass."""
    found = {}
    for method in ("erm", "vrex"):
        set_seed(0)
        trainer = make_trainer(
            tmp_path, method, model=make_model(), gradient_accumulation_steps=4, per_device_train_batch_size=6
        )
        if method == "vrex":
            trainer.objective.penalty_weight = trainer.objective.warmup_penalty_weight = 0.0
        trainer.train()
        found[method] = trainer.model.state_dict()
    for name, value in found["erm"].items():
        torch.testing.assert_close(found["vrex"][name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("method", ["erm", "irm+rsc"])
def test_an_autoencoder_moves_and_resumes_like_any_model(method: str, tmp_path: Path) -> None:
    set_seed(1)
    whole = make_trainer(tmp_path / "whole", method, model=make_autoencoder())
    before = weights(whole)
    whole.train()
    assert not [name for name, parameter in weights(whole).items() if torch.equal(parameter, before[name])]
    assert 0 < whole.state.log_history[0]["auxiliary_loss"] < 2
    set_seed(1)
    saving = {"save_strategy": "steps", "save_steps": 4}
    make_trainer(tmp_path / "parts", method, model=make_autoencoder(), **saving).train()
    resumed = make_trainer(tmp_path / "parts", method, model=make_autoencoder())
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-4"))
    for name, parameter in weights(whole).items():
        assert torch.equal(weights(resumed)[name], parameter), name


@dataclass
class Witness(ERM):
    """ERM that keeps what it sees: the label of a sample tells which environment it must come from."""

    def sums(self, outputs: Outputs) -> Sums:
        seen.append((outputs.labels.clone(), outputs.environments.clone()))
        return super().sums(outputs)


seen: list[tuple[Tensor, Tensor]] = []


@pytest.mark.parametrize("proportions", ["equal", "natural"])
def test_environment_ids_arrive_with_their_samples(proportions: str, tmp_path: Path) -> None:
    counts = (50, 31, 20)
    environments = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    environments = environments[torch.randperm(101, generator=torch.Generator().manual_seed(3))]
    data = EnvironmentDataset(
        torch.zeros(101, 3, 28, 28, dtype=torch.uint8),
        (environments + 1) % 3,
        environments,
        ["a", "b", "c"],
        ["x", "y", "z"],
    )
    seen.clear()
    trainer = make_trainer(
        tmp_path,
        data=data,
        model=LeNetForImageClassification(LeNetConfig(num_labels=3)),
        environment_proportions=proportions,
        dataloader_drop_last=False,
        max_steps=-1,
        num_train_epochs=2,
    )
    trainer.objective = Witness()
    trainer.train()
    assert len(seen) == 10 and len(seen[4][0]) == 101 - 4 * 24  # the uneven last batch is there
    for labels, environments in seen:
        assert torch.equal(labels, (environments + 1) % 3)
    if proportions == "natural":
        first_epoch = torch.cat([environments for _, environments in seen[:5]])
        assert torch.bincount(first_epoch).tolist() == list(counts)


@pytest.mark.parametrize("method", ALL_METHODS)
def test_same_seed_same_weights(method: str, tmp_path: Path) -> None:
    found = []
    for number in range(2):
        trainer = make_trainer(tmp_path / str(number), method)
        trainer.train()
        found.append(weights(trainer))
    for name, parameter in found[0].items():
        assert torch.equal(found[1][name], parameter), name


@pytest.mark.slow
@with_own_partners
@pytest.mark.parametrize("method", OBJECTIVES)  # RSC's coin and ties depend on the order within the batch
def test_renaming_environments_changes_nothing_else(method: str, tmp_path: Path) -> None:
    data = make_dataset((60, 60, 60))
    renaming = torch.tensor([2, 0, 1])
    renamed = EnvironmentDataset(
        data.columns["pixel_values"],
        data.labels,
        renaming[data.environments],
        data.label_names,
        ["1", "2", "0"],
    )
    found = []
    for number, dataset in enumerate((data, renamed)):
        trainer = make_trainer(
            tmp_path / str(number),
            method,
            dataset,
            per_device_train_batch_size=180,
            optim="sgd",
            learning_rate=0.1,
            max_steps=2,  # later, samples summed in another order have rounded a ReLU to its other side
        )
        trainer.train()
        found.append(weights(trainer))
    for name, _ in trainer.model.named_parameters():  # a discriminator's last rows follow the names
        # A ReLU that rounding puts on its other side moves a weight by some 1e-5.
        torch.testing.assert_close(found[1][name], found[0][name], rtol=1e-4, atol=1e-5, msg=name)


def test_saved_weights_give_the_same_logits(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "irm+rsc")
    trainer.train()
    trainer.model.save_pretrained(tmp_path / "saved")
    loaded = LeNetForImageClassification.from_pretrained(tmp_path / "saved")
    images = make_dataset().columns["pixel_values"].float() / 255
    with torch.no_grad():
        assert torch.equal(trainer.model.eval()(images).logits, loaded.eval()(images).logits)


def test_every_registered_objective_is_a_dataclass_with_help() -> None:
    for cls in METHODS.values():
        assert issubclass(cls, Objective) == (cls.name in OBJECTIVES)
        assert cls.__doc__
        for field in fields(cls):
            assert not field.init or field.metadata["help"]
