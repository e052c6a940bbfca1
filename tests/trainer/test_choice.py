"""Which way a metric goes, for whoever follows it: checkpoints, early stopping and schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import make_args, make_dataset, make_model
from option_table import shows
from transformers import EarlyStoppingCallback, TrainerCallback, TrainingArguments
from transformers.utils import logging

from hf_ood import EnvironmentDataset, OODConfig, OODTrainer
from hf_ood.evaluation.measures import RISES, rises
from hf_ood.trainer.choice import known_metrics

TRAINING, VALIDATION = make_dataset((24, 24, 24)), make_dataset((8, 8, 8), seed=1)
NAMES = ("{}", "eval_{}", "eval_validation_{}", "eval_validation_environment_0_{}", "eval_test_worst_{}")
EVERY_STEP: dict[str, Any] = {
    "eval_strategy": "steps",
    "save_strategy": "steps",
    "eval_steps": 1,
    "save_steps": 1,
    "save_total_limit": None,
    "report_to": "none",
}


class Values:
    """A `compute_metrics` that gives one value after another."""

    def __init__(self, name: str, values: list[float]):
        self.name, self.values = name, iter(values)

    def __call__(self, prediction: Any) -> dict[str, float]:
        return {self.name: next(self.values)}


def follow(
    folder: Path, name: str, values: list[float], args_class: type = OODConfig, **changes: Any
) -> OODTrainer:
    """A training whose metric `name` takes `values`, one a step."""
    callbacks = changes.pop("callbacks", [])
    settings = {**EVERY_STEP, "metric_for_best_model": name, "max_steps": len(values), "use_cpu": True}
    settings |= {"logging_steps": 1, "disable_tqdm": True, "load_best_model_at_end": True}
    settings |= {"per_device_train_batch_size": 24, **changes}
    trainer = OODTrainer(
        make_model(),
        args_class(str(folder), **settings),
        train_dataset=TRAINING,
        eval_dataset=VALIDATION,
        compute_metrics=Values(name, values),
        callbacks=callbacks,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("measure", RISES)
def test_every_measure_of_the_library_has_its_direction_under_any_prefix(
    measure: str, tmp_path: Path
) -> None:
    for name in NAMES:
        assert rises(name.format(measure)) is RISES[measure]


def test_every_metric_of_an_evaluation_has_a_direction(tmp_path: Path) -> None:
    targets = EnvironmentDataset(
        VALIDATION.columns["pixel_values"],
        VALIDATION.labels.float(),
        VALIDATION.environments,
        ["y"],
        VALIDATION.environment_names,
    )
    for data, outputs in ((VALIDATION, 2), (targets, 1)):
        trainer = OODTrainer(make_model(num_labels=outputs), make_args(tmp_path), eval_dataset=data)
        measured = [name for name in trainer.evaluate() if "runtime" not in name and "second" not in name]
        unknown = [name for name in measured if rises(name) is None]
        assert [name for name in unknown if not name.endswith(("time", "epoch"))] == []


@pytest.mark.parametrize("args_class", [OODConfig, TrainingArguments])
@pytest.mark.parametrize("measure", ["accuracy", "squared_error", "ece", "gap", "macro_f1", "rmse"])
@shows("metric_for_best_model", "greater_is_better")
def test_the_best_checkpoint_is_the_best_whatever_the_measure(
    measure: str, args_class: type, tmp_path: Path
) -> None:
    values = [0.3, 0.5, 0.1, 0.4]
    trainer = follow(tmp_path, f"own_{measure}", values, args_class)
    best = max(values) if RISES[measure] else min(values)
    assert trainer.args.greater_is_better is RISES[measure]
    assert trainer.state.best_metric == best
    assert trainer.state.best_model_checkpoint.endswith(f"checkpoint-{values.index(best) + 1}")


@pytest.mark.parametrize(("measure", "worse"), [("ece", 1), ("gap", 1), ("squared_error", 1), ("r2", -1)])
def test_early_stopping_waits_while_a_measure_gets_better(measure: str, worse: int, tmp_path: Path) -> None:
    better = [1.0 - worse * 0.1 * number for number in range(4)]
    steps = []
    for values in (better, better[::-1]):
        stopping = EarlyStoppingCallback(early_stopping_patience=2)
        trainer = follow(tmp_path, f"own_{measure}", values, callbacks=[stopping])
        steps.append(trainer.state.global_step)
    assert steps == [4, 3]


@pytest.mark.parametrize("schedule", ["reduce_lr_on_plateau", "greedy"])
@pytest.mark.parametrize(("measure", "worse"), [("ece", 1), ("accuracy", -1)])
def test_a_schedule_lowers_the_rate_only_where_a_measure_gets_worse(
    schedule: str, measure: str, worse: int, tmp_path: Path
) -> None:
    better = [0.5 - worse * 0.1 * number for number in range(4)]
    settings = {"lr_scheduler_type": schedule, "lr_scheduler_kwargs": {"patience": 0, "min_lr": 1e-9}}
    rates = [
        follow(tmp_path, f"own_{measure}", values, **settings).optimizer.param_groups[0]["lr"]
        for values in (better, better[::-1])
    ]
    assert rates[0] >= 1e-3 > rates[1]


@pytest.mark.parametrize("measure", ["gap", "accuracy"])
def test_saving_what_is_best_follows_the_measure(measure: str, tmp_path: Path) -> None:
    values = [0.3, 0.5, 0.1, 0.4]
    follow(tmp_path, f"own_{measure}", values, save_strategy="best", save_total_limit=None)
    kept = sorted(folder.name for folder in tmp_path.glob("checkpoint-*"))
    assert kept == ["checkpoint-1", "checkpoint-2" if RISES[measure] else "checkpoint-3"]


@pytest.mark.parametrize("args_class", [OODConfig, TrainingArguments])
def test_the_loss_is_minimised_under_each_of_its_names(args_class: type, tmp_path: Path) -> None:
    for name in ("loss", "eval_loss", "validation_loss", "eval_validation_loss"):
        args = args_class(
            str(tmp_path), metric_for_best_model=name, per_device_train_batch_size=24, report_to="none"
        )
        trainer = OODTrainer(make_model(), args, train_dataset=TRAINING, eval_dataset=VALIDATION)
        assert trainer.args.metric_for_best_model == "eval_validation_loss"
        assert trainer.args.greater_is_better is False


def test_an_environments_measure_may_choose(tmp_path: Path) -> None:
    name = "eval_validation_environment_1_accuracy"
    args = make_args(tmp_path, **{**EVERY_STEP, "metric_for_best_model": name})
    trainer = OODTrainer(make_model(), args, train_dataset=TRAINING, eval_dataset=VALIDATION)
    trainer.train()
    found = [entry[name] for entry in trainer.state.log_history if name in entry]
    assert trainer.state.best_metric == max(found)


def test_evaluations_of_other_splits_warn_of_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stopping = EarlyStoppingCallback(early_stopping_patience=3)
    args = make_args(tmp_path, **EVERY_STEP)
    splits = {
        "test": make_dataset((8, 8), seed=2),
        "validation": VALIDATION,
        "other": make_dataset((8, 8), seed=3),
    }
    logging.enable_propagation()
    try:
        trainer = OODTrainer(
            make_model(), args, train_dataset=TRAINING, eval_dataset=splits, callbacks=[stopping]
        )
        trainer.train()
        trainer.evaluate(splits["other"])
        trainer.evaluate(splits["other"], metric_key_prefix="late")
    finally:
        logging.disable_propagation()
    assert "early stopping" not in caplog.text.lower()
    assert stopping in trainer.callback_handler.callbacks


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_what_can_choose_is_what_an_evaluation_has(outputs: int, tmp_path: Path) -> None:
    labels = VALIDATION.labels.clone()
    labels[VALIDATION.environments == 1] = 0  # one class: no area under a curve
    data = VALIDATION.with_labels(labels, VALIDATION.label_names)
    if outputs == 1:
        data = data.with_labels(labels.float(), ["y"])
    trainer = OODTrainer(make_model(num_labels=outputs), make_args(tmp_path), eval_dataset=data)
    timings = ("runtime", "second", "time", "epoch")
    measured = {name for name in trainer.evaluate() if not any(word in name for word in timings)}
    assert measured == {*known_metrics({"validation": data}, losses_only=False)}
    assert ("eval_validation_mean_auroc" in measured) == (outputs > 1)
    assert "eval_validation_environment_1_auroc" not in measured


@pytest.mark.parametrize(
    "measure",
    ["macro_f1", "worst_group", "mean_balanced_accuracy", "worst_auroc", "mean_ece", "worst_loss"],
)
def test_every_kind_of_measure_chooses_in_its_direction(measure: str, tmp_path: Path) -> None:
    args = make_args(tmp_path, **{**EVERY_STEP, "metric_for_best_model": f"validation_{measure}"})
    trainer = OODTrainer(make_model(), args, train_dataset=TRAINING, eval_dataset=VALIDATION)
    trainer.train()
    name = f"eval_validation_{measure}"
    found = [entry[name] for entry in trainer.state.log_history if name in entry]
    falls = measure.endswith(("ece", "loss"))
    assert trainer.state.best_metric == (min if falls else max)(found) and len(found) > 1


def test_a_metric_that_will_not_be_there_is_refused_before_training(tmp_path: Path) -> None:
    labels = VALIDATION.labels.clone()
    labels[VALIDATION.environments == 1] = 0
    data = VALIDATION.with_labels(labels, VALIDATION.label_names)
    for metric, message in (
        ("f1", "Did you mean 'eval_validation_macro_f1'"),
        ("validation_macro_f2", "Did you mean 'eval_validation_macro_f1'"),
        ("validation_environment_1_auroc", "auroc takes two classes in an environment"),
    ):
        args = make_args(tmp_path, **{**EVERY_STEP, "metric_for_best_model": metric})
        with pytest.raises(ValueError, match=message):
            OODTrainer(make_model(), args, train_dataset=TRAINING, eval_dataset=data)


def test_environments_that_a_mean_leaves_out_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = VALIDATION.labels.clone()
    labels[VALIDATION.environments == 1] = 0
    data = VALIDATION.with_labels(labels, VALIDATION.label_names)
    args = make_args(tmp_path, **{**EVERY_STEP, "metric_for_best_model": "validation_mean_auroc"})
    logging.enable_propagation()
    try:
        OODTrainer(make_model(), args, train_dataset=TRAINING, eval_dataset=data)
    finally:
        logging.disable_propagation()
    assert "leaves out environment_1: only one class" in caplog.text


def test_other_callbacks_hear_of_every_split(tmp_path: Path) -> None:
    class Noting(TrainerCallback):
        splits: list[str]

        def on_evaluate(self, *args: Any, metrics: dict[str, float], **kwargs: Any) -> None:
            self.splits.append(next(name for name in metrics if name.endswith("_loss")))

    noting = Noting()
    noting.splits = []
    args = make_args(tmp_path, **{**EVERY_STEP, "max_steps": 1})
    splits = {"validation": VALIDATION, "test": make_dataset((8, 8), seed=2)}
    OODTrainer(make_model(), args, train_dataset=TRAINING, eval_dataset=splits, callbacks=[noting]).train()
    assert noting.splits == ["eval_validation_loss", "eval_test_loss"]
