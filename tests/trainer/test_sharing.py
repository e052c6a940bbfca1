"""What trainers share stays as it was, what begins anew begins anew, searches go by what chooses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_args, make_dataset, make_model
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification, TrainingArguments, set_seed
from transformers.utils import logging

from hf_ood import (
    CORAL,
    DANN,
    EMA,
    ERM,
    IRM,
    MLDG,
    RSC,
    SAM,
    SWAD,
    CrossEntropy,
    GroupDRO,
    Mixup,
    OODTrainer,
    VREx,
)

needs_optuna = pytest.mark.skipif(find_spec("optuna") is None, reason="searches need hf_ood[sweep]")
TRAINING, VALIDATION = make_dataset((24, 24, 24)), make_dataset((8, 8, 8), seed=1)
EVERY_TWO: dict[str, Any] = {
    "eval_strategy": "steps",
    "save_strategy": "steps",
    "eval_steps": 2,
    "save_steps": 2,
    "report_to": "none",
}


def state_of(thing: Any) -> Any:
    return copy.deepcopy(
        {name: value for name, value in vars(thing).items() if not name.startswith("__cached")}
    )


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (hasattr(one, "__dict__") and same(vars(one), vars(other)))


def weights(trainer: OODTrainer) -> Tensor:
    return torch.cat([own.detach().flatten() for own in trainer.model.parameters()]).clone()


def make(folder: Path, **options: Any) -> OODTrainer:
    args = options.pop("args", None) or make_args(folder, report_to="none")
    return OODTrainer(
        options.pop("model", None) or make_model(), args, **{"train_dataset": TRAINING, **options}
    )


@pytest.mark.parametrize(
    "part",
    [
        {"objective": GroupDRO()},
        {"objective": IRM(10.0, 0.5)},
        {"objective": DANN(width=8)},
        {"feature_transform": RSC()},
        {"mixing": Mixup()},
        {"update": SAM()},
        {"averaging": EMA()},
        {"loss": CrossEntropy(class_weights="balanced")},
    ],
    ids=lambda part: next(iter(part.values())).name,
)
def test_a_part_of_the_method_may_be_shared(part: dict[str, Any], tmp_path: Path) -> None:
    (given,) = part.values()
    before = state_of(given)
    first = make(tmp_path / "first", **part)
    first.train()
    assert same(state_of(given), before)
    second = make(tmp_path / "second", **part)
    second.train()
    assert torch.equal(weights(first), weights(second))


@pytest.mark.parametrize(
    "changes",
    [
        EVERY_TWO,
        {**EVERY_TWO, "metric_for_best_model": "loss"},
        {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"patience": 1}},
        {"accelerator_config": {"gradient_accumulation_kwargs": {"num_steps": 2}}},
    ],
)
def test_arguments_may_be_shared(changes: dict[str, Any], tmp_path: Path) -> None:
    args = make_args(tmp_path, **{"report_to": "none", **changes})
    before = state_of(args)
    if "lr_scheduler_type" not in changes:
        make(tmp_path, args=args).train()  # without validation
    make(tmp_path, args=args, averaging=SWAD(), eval_dataset=VALIDATION)
    trainers = [make(tmp_path, args=args, eval_dataset=VALIDATION) for _ in range(2)]
    for trainer in trainers:
        trainer.train()
    assert same(state_of(args), before)
    histories = [[name for entry in trainer.state.log_history for name in entry] for trainer in trainers]
    assert histories[0] == histories[1]
    assert any(name.startswith("eval_validation") for name in histories[0])
    assert torch.equal(weights(trainers[0]), weights(trainers[1]))


def test_data_sets_may_be_shared(tmp_path: Path) -> None:
    training, renamed = make_dataset((24, 24, 24)), make_dataset((8, 8), seed=1)
    renamed.label_names.reverse()
    before = [state_of(training), state_of(renamed)]
    for folder in ("first", "second"):
        trainer = make(tmp_path / folder, train_dataset=training, eval_dataset=renamed, mixing=Mixup())
        trainer.train()
        trainer.evaluate()
        trainer.predict(renamed)
    assert same([state_of(training), state_of(renamed)], before)


@pytest.mark.parametrize(
    "part",
    [
        {"objective": GroupDRO(step_size=5.0)},
        {"objective": IRM(10.0, 2)},
        {"objective": DANN(width=8)},
        {"update": MLDG()},
        {"averaging": EMA()},
        {"feature_transform": RSC()},
    ],
    ids=lambda part: next(iter(part.values())).name,
)
def test_a_second_training_begins_anew(part: dict[str, Any], tmp_path: Path) -> None:
    once = OODTrainer(
        None, make_args(tmp_path / "once"), model_init=lambda: make_model(), train_dataset=TRAINING, **part
    )
    twice = OODTrainer(
        None, make_args(tmp_path / "twice"), model_init=lambda: make_model(), train_dataset=TRAINING, **part
    )
    once.train()
    for _ in range(2):
        twice.train()
    assert torch.equal(weights(once), weights(twice))
    losses = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (once, twice)]
    assert losses[0] == losses[1]


def make_normed() -> ResNetForImageClassification:
    set_seed(0)
    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=2
    )
    return ResNetForImageClassification(config)


@pytest.mark.parametrize(
    "part", [{"objective": CORAL()}, {"feature_transform": RSC()}, {"objective": DANN(width=8)}]
)
def test_a_network_made_later_is_the_one_that_is_frozen_and_caught(
    part: dict[str, Any], tmp_path: Path
) -> None:
    trainer = OODTrainer(
        None,
        make_args(tmp_path, freeze_batch_norm=True, max_steps=2),
        model_init=lambda: make_normed(),
        train_dataset=TRAINING,
        **part,
    )
    trainer.train()
    means = [value for name, value in trainer.model.named_buffers() if name.endswith("running_mean")]
    assert means and all(not mean.any() for mean in means)
    given = OODTrainer(
        make_normed(),
        make_args(tmp_path, freeze_batch_norm=True, max_steps=2),
        train_dataset=TRAINING,
        **part,
    )
    given.train()
    assert torch.equal(weights(trainer), weights(given))


def searcher(folder: Path, options: dict[str, Any] | None = None, **changes: Any) -> OODTrainer:
    settings = {"max_steps": 2, "load_best_model_at_end": False, "report_to": "none", **changes}
    given = {
        "eval_dataset": {"validation": VALIDATION, "test": make_dataset((8, 8), seed=2)},
        **(options or {}),
    }
    return OODTrainer(
        None, make_args(folder, **settings), model_init=lambda: make_model(), train_dataset=TRAINING, **given
    )


def rates(*values: float) -> Callable[[Any], dict[str, Any]]:
    return lambda trial: {"learning_rate": values[trial.number]}


@needs_optuna
@pytest.mark.parametrize(
    ("metric", "best"), [(None, max), ("loss", min), ("eval_validation_worst_accuracy", max)]
)
def test_a_search_goes_by_the_metric_that_chooses_checkpoints(
    metric: str | None, best: Callable[..., float], tmp_path: Path
) -> None:
    found: list[float] = []
    trainer = searcher(tmp_path, metric_for_best_model=metric, max_steps=6)

    class Noting(type(trainer.callback_handler.callbacks[0])):  # type: ignore[misc]
        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            value = kwargs["metrics"].get(trainer.args.metric_for_best_model)
            if value is not None:
                found.append(value)

    trainer.add_callback(Noting())
    run = trainer.hyperparameter_search(hp_space=rates(1e-6, 1e-2, 1e-4), n_trials=3, backend="optuna")
    assert run.objective == pytest.approx(best(found))
    assert isinstance(trainer.objective, ERM)


@needs_optuna
def test_a_methods_own_options_are_searched(tmp_path: Path) -> None:
    weights_seen: list[float] = []

    class Noting(IRM):
        def start(self, total_steps: int) -> None:
            weights_seen.append(self.penalty_weight)
            super().start(total_steps)

    given = Noting(penalty_weight=3.0, warmup_steps=0)
    trainer = searcher(tmp_path, {"objective": given})
    run = trainer.hyperparameter_search(
        hp_space=lambda trial: {"irm.penalty_weight": trial.suggest_float("irm.penalty_weight", 5.0, 6.0)},
        n_trials=2,
        backend="optuna",
    )
    assert len(weights_seen) == 2 and all(5.0 <= weight <= 6.0 for weight in weights_seen)
    assert list(run.hyperparameters) == ["irm.penalty_weight"]
    assert given.penalty_weight == trainer.objective.penalty_weight == 3.0


@needs_optuna
@pytest.mark.parametrize(
    ("name", "message"),
    [("vrex.penalty_weight", "Unknown part of the method 'vrex'"), ("erm.penalty", "option of erm")],
)
def test_an_option_that_the_method_has_not_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"(?i){message}"):
        searcher(tmp_path).hyperparameter_search(
            hp_space=lambda trial: {name: 1.0}, n_trials=1, backend="optuna"
        )


@needs_optuna
def test_a_trial_that_diverges_fails_alone(tmp_path: Path) -> None:
    trainer = searcher(tmp_path, max_steps=4)
    run = trainer.hyperparameter_search(hp_space=rates(1e30, 1e-3), n_trials=2, backend="optuna")
    assert run.run_id == "1"
    trainer.train()
    assert weights(trainer).isfinite().all()


@needs_optuna
def test_a_search_by_a_test_metric_is_called_an_oracle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.enable_propagation()
    try:
        for metric in ("eval_test_mean_accuracy", "eval_validation_mean_accuracy"):
            caplog.clear()
            trainer = searcher(tmp_path, metric_for_best_model=metric, max_steps=1)
            trainer.hyperparameter_search(hp_space=rates(1e-3), n_trials=1, backend="optuna")
            assert ("oracle" in caplog.text) == metric.startswith("eval_test")
    finally:
        logging.disable_propagation()


@needs_optuna
def test_a_search_works_with_plain_arguments_frozen_norms_and_features(tmp_path: Path) -> None:
    args = TrainingArguments(
        str(tmp_path), max_steps=2, per_device_train_batch_size=24, report_to="none", use_cpu=True
    )
    options = {"objective": CORAL(), "feature_transform": RSC()}
    for chosen in (args, make_args(tmp_path, freeze_batch_norm=True, max_steps=2, report_to="none")):
        trainer = OODTrainer(
            None,
            chosen,
            model_init=lambda: make_normed(),
            train_dataset=TRAINING,
            eval_dataset=VALIDATION,
            **options,
        )
        run = trainer.hyperparameter_search(
            hp_space=lambda trial: {
                "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-3),
                "coral.penalty_weight": trial.suggest_float("coral.penalty_weight", 0.1, 1.0),
            },
            n_trials=2,
            backend="optuna",
        )
        assert {"learning_rate", "coral.penalty_weight"} == set(run.hyperparameters)
    trainer.train()
    means = [value for name, value in trainer.model.named_buffers() if name.endswith("running_mean")]
    assert all(not mean.any() for mean in means)


@needs_optuna
def test_the_objective_is_the_method_before_and_after_a_search(tmp_path: Path) -> None:
    trainer = searcher(tmp_path, {"objective": VREx(1.0, 0)})
    trainer.hyperparameter_search(hp_space=rates(1e-3), n_trials=1, backend="optuna")
    assert isinstance(trainer.objective, VREx)
    trainer.train()
    assert isinstance(trainer.objective, VREx) and isinstance(trainer.model, nn.Module)
