"""Numbers that are not finite are found, whatever is logged or saved, and the message says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from torch import Tensor, nn
from transformers import TrainerCallback

from hf_ood import DANN, EMA, ERM, IRM, RSC, SAM, EnvironmentDataset, GroupDRO, Mixup, OODTrainer
from hf_ood.trainer import NonFiniteLossError

QUIET: dict[str, Any] = {"report_to": "none", "save_strategy": "no", "eval_strategy": "no"}


def make_broken(environment: int = 1, value: float = torch.nan) -> EnvironmentDataset:
    rows = make_dataset((24, 24, 24), floats=True)
    broken = (rows.environments == environment).nonzero()[3, 0]
    rows.columns["pixel_values"][broken] = value
    return rows


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    "quiet",
    [
        {"logging_strategy": "no"},
        {"logging_steps": 500},
        {"logging_strategy": "no", "gradient_accumulation_steps": 2},
    ],
)
@pytest.mark.parametrize(
    "part",
    [
        {},
        {"objective": IRM(1.0, 1)},
        {"objective": GroupDRO()},
        {"feature_transform": RSC()},
        {"mixing": Mixup()},
        {"update": SAM()},
        {"averaging": EMA()},
    ],
    ids=lambda part: next((kind.name for kind in part.values()), "erm"),
)
def test_a_loss_is_noticed_though_nothing_is_logged_or_saved(
    part: dict[str, Any], quiet: dict[str, Any], value: float, tmp_path: Path
) -> None:
    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path, **{**QUIET, "max_steps": 3, **quiet}),
        train_dataset=make_broken(value=value),
        **part,
    )
    with pytest.raises(NonFiniteLossError, match="start again"):
        trainer.train()


class BreakWeights(TrainerCallback):
    """Breaks a weight after a step, as an overflow in the optimizer would."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        if state.global_step == self.step:
            with torch.no_grad():
                next(model.parameters()).view(-1)[0] = torch.nan


@pytest.mark.parametrize("part", [{}, {"averaging": EMA()}, {"update": SAM()}, {"objective": DANN(width=8)}])
def test_weights_that_break_in_the_last_step_are_noticed(part: dict[str, Any], tmp_path: Path) -> None:
    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path, **QUIET, logging_strategy="no"),
        train_dataset=make_dataset((24, 24, 24)),
        callbacks=[BreakWeights(4)],
        **part,
    )
    with pytest.raises(NonFiniteLossError, match=r"weights that are not finite.*step 4"):
        trainer.train()


def test_the_message_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    settings = {
        **QUIET,
        "save_strategy": "steps",
        "save_steps": 1,
        "logging_strategy": "no",
        "save_total_limit": None,
    }
    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path, **settings),
        train_dataset=make_dataset(),
        callbacks=[BreakWeights(3)],
    )
    with pytest.raises(NonFiniteLossError, match=r"--resume_from_checkpoint \S*checkpoint-2$|checkpoint-2\."):
        trainer.train()
    assert not (tmp_path / "checkpoint-3").exists()


def test_it_is_noticed_before_an_evaluation(tmp_path: Path) -> None:
    args = make_args(
        tmp_path,
        **{**QUIET, "eval_strategy": "steps", "eval_steps": 3, "logging_strategy": "no", "max_steps": 9},
    )
    trainer = OODTrainer(
        make_model(), args, train_dataset=make_broken(2), eval_dataset=make_dataset((8, 8, 8), seed=1)
    )
    with pytest.raises(NonFiniteLossError, match="first in environment environment_2"):
        trainer.train()
    assert not [entry for entry in trainer.state.log_history if "eval_validation_loss" in entry]


def test_logits_that_are_not_finite_are_no_class(tmp_path: Path) -> None:
    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path, **QUIET, per_device_eval_batch_size=10),
        train_dataset=make_dataset((24, 24, 24)),
    )
    broken = make_broken(2)
    bare = EnvironmentDataset(
        broken.columns["pixel_values"],
        None,
        broken.environments,
        broken.label_names,
        broken.environment_names,
    )
    for call, rows in ((trainer.evaluate, broken), (trainer.predict, broken), (trainer.predict, bare)):
        with pytest.raises(NonFiniteLossError, match="for 1 samples, in environment environment_2"):
            call(rows)


def test_the_losses_alone_are_noticed_too(tmp_path: Path) -> None:
    args = make_args(tmp_path, **QUIET, prediction_loss_only=True)
    trainer = OODTrainer(make_model(), args, train_dataset=make_dataset((24, 24, 24)))
    with pytest.raises(NonFiniteLossError, match=r"eval_loss is not finite.*start again"):
        trainer.evaluate(make_broken(0))


def test_preprocessed_logits_hide_nothing(tmp_path: Path) -> None:
    def classes(logits: Tensor, labels: Tensor | None) -> Tensor:
        return logits.argmax(-1)

    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path, **QUIET),
        objective=ERM(),
        train_dataset=make_dataset((24, 24, 24)),
        preprocess_logits_for_metrics=classes,
    )
    with pytest.raises(NonFiniteLossError, match="in environment environment_1"):
        trainer.predict(make_broken(1))
