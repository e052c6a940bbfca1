"""`early_stopping_patience`: when it stops, what it ends with, and where it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import make_args, make_dataset, make_model
from test_choice import EVERY_STEP, TRAINING, VALIDATION, Values
from transformers import EarlyStoppingCallback

from hf_ood import OODConfig, OODTrainer


def trainer_of(folder: Path, values: list[float], **changes: Any) -> OODTrainer:
    settings = {**EVERY_STEP, "metric_for_best_model": "own_accuracy", "max_steps": len(values), **changes}
    settings |= {"use_cpu": True, "disable_tqdm": True, "per_device_train_batch_size": 24}
    return OODTrainer(
        make_model(),
        OODConfig(str(folder), **settings),
        train_dataset=TRAINING,
        eval_dataset=VALIDATION,
        compute_metrics=Values("own_accuracy", values),
    )


@pytest.mark.parametrize(
    ("patience", "threshold", "steps"), [(1, 0.0, 3), (2, 0.0, 4), (3, 0.0, 8), (2, 0.3, 3)]
)
def test_it_stops_after_so_many_evaluations_that_are_not_better(
    patience: int, threshold: float, steps: int, tmp_path: Path
) -> None:
    values = [0.4, 0.5, 0.3, 0.4, 0.6, 0.5, 0.2, 0.1]
    trainer = trainer_of(
        tmp_path, values, early_stopping_patience=patience, early_stopping_threshold=threshold
    )
    trainer.train()
    assert trainer.state.global_step == steps
    assert trainer.state.best_metric == max(values[:steps])


def test_a_resumed_training_stops_where_the_undisturbed_one_does(tmp_path: Path) -> None:
    values = [0.5, 0.4, 0.3, 0.2, 0.1, 0.1]
    trainer_of(tmp_path, values, early_stopping_patience=3).train()
    resumed = trainer_of(tmp_path, values[3:] + values, early_stopping_patience=3)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert resumed.state.global_step == 4


def test_a_second_training_counts_anew(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, [0.5, 0.4, 0.5, 0.6, 0.7], early_stopping_patience=1, max_steps=3)
    trainer.train()
    assert trainer.state.global_step == 2
    trainer.train()
    assert trainer.state.global_step == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"early_stopping_patience": 0}, "at least 1 evaluation"),
        ({"early_stopping_threshold": 0.1}, "set early_stopping_patience too"),
        ({"early_stopping_patience": 1, "early_stopping_threshold": -1.0}, "at least 0"),
        ({"early_stopping_patience": 1, "save_strategy": "no"}, "Set both strategies"),
        ({"early_stopping_patience": 1, "eval_strategy": "no"}, "Set both strategies"),
    ],
)
def test_options_that_stop_nothing_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        OODConfig(str(tmp_path), **options)


@pytest.mark.parametrize("evaluated", [None, {"test": VALIDATION}])
def test_without_a_validation_set_it_is_refused(evaluated: Any, tmp_path: Path) -> None:
    args = make_args(tmp_path, **{**EVERY_STEP, "early_stopping_patience": 2})
    with pytest.raises(ValueError, match="give an eval_dataset with a validation set"):
        OODTrainer(make_model(), args, train_dataset=TRAINING, eval_dataset=evaluated)


def test_two_of_them_are_refused(tmp_path: Path) -> None:
    args = make_args(tmp_path, **{**EVERY_STEP, "early_stopping_patience": 2})
    with pytest.raises(ValueError, match="give one of them"):
        OODTrainer(
            make_model(),
            args,
            train_dataset=TRAINING,
            eval_dataset=make_dataset((8, 8)),
            callbacks=[EarlyStoppingCallback()],
        )
