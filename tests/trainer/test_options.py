"""Every option of `Trainer` is classed, and does what its class says."""

from __future__ import annotations

import copy
import inspect
import logging as python_logging
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_args, make_dataset, make_model
from option_table import HONOURED, INHERITED, REFUSED
from torch import Tensor, nn
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

from hf_ood import (
    CORAL,
    DANN,
    EMA,
    IRM,
    RSC,
    SWAD,
    EnvironmentDataset,
    GroupDRO,
    LeNetConfig,
    LeNetForImageClassification,
    OODConfig,
    OODTrainer,
    VREx,
)
from hf_ood.data import collate
from hf_ood.evaluation.measures import RISES, rises
from hf_ood.losses import CrossEntropy
from hf_ood.trainer import CorruptCheckpointError, NonFiniteLossError, checks

SEQUENTIAL = {"environment_proportions": "natural", "train_sampling_strategy": "sequential"}


def names() -> set[str]:
    options = {field.name for field in fields(TrainingArguments)}
    return options | {name for name in inspect.signature(Trainer.__init__).parameters if name != "self"}


def weights(trainer: Trainer) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()]).clone()


class Rows(torch.utils.data.Dataset):
    """What `Trainer` alone needs: rows of tensors."""

    def __init__(self, data: EnvironmentDataset):
        self.data = collate(data.__getitems__(range(len(data))))

    def __len__(self) -> int:
        return len(self.data["labels"])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: self.data[name][index] for name in ("pixel_values", "labels")}


def both(folder: Path, keywords: dict[str, Any] | None = None, **options: Any) -> tuple[Trainer, Trainer]:
    """`Trainer` and `OODTrainer`, trained on the same rows in the same order."""
    data, trained = make_dataset(), []
    for kind, rows in ((Trainer, Rows(data)), (OODTrainer, data)):
        # A large epsilon: Adam would make a whole step of the rounding of a gradient near 0.
        arguments = make_args(folder, **{**SEQUENTIAL, "adam_epsilon": 1e-2, **options})
        if kind is Trainer:
            arguments = copy.copy(arguments)
            arguments.eval_strategy, arguments.load_best_model_at_end = "no", False
        made = {name: make() for name, make in (keywords or {}).items()}
        trainer = kind(make_model(), arguments, train_dataset=rows, **made)
        trainer.train()
        trained.append(trainer)
    return trained[0], trained[1]


def test_every_option_is_classed_once() -> None:
    classes = [*INHERITED.values(), HONOURED, {name.split("=")[0] for name in REFUSED} - {"optim"}]
    assert set().union(*classes) == names()
    assert sum(map(len, classes)) == len(names())


WEIGHTS: dict[str, dict[str, Any]] = {
    "per_device_train_batch_size": {"per_device_train_batch_size": 30},
    "num_train_epochs": {"max_steps": -1, "num_train_epochs": 1},
    "gradient_accumulation_steps": {"gradient_accumulation_steps": 3},
    "learning_rate": {"learning_rate": 3e-3},
    "lr_scheduler_type": {"lr_scheduler_type": "cosine"},
    "warmup_steps": {"warmup_steps": 3, "lr_scheduler_type": "constant_with_warmup"},
    "optim": {"optim": "sgd"},
    "weight_decay": {"weight_decay": 10.0},
    "adam_beta1": {"adam_beta1": 0.5, "adam_beta2": 0.9, "adam_epsilon": 2e-2},
    "max_grad_norm": {"max_grad_norm": 0.01, "optim": "sgd"},
    "dataloader_drop_last": {"dataloader_drop_last": False, "per_device_train_batch_size": 100},
}


@pytest.mark.parametrize("option", WEIGHTS)
def test_inherited_options_move_the_weights_as_those_of_trainer(option: str, tmp_path: Path) -> None:
    theirs, ours = (weights(trainer) for trainer in both(tmp_path, **WEIGHTS[option]))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    plain = weights(both(tmp_path)[1])
    assert not torch.allclose(ours, plain, rtol=1e-3, atol=1e-5), f"{option} changed nothing"


def test_an_optimizer_class_is_inherited(tmp_path: Path) -> None:
    keywords = {
        "optimizer_cls_and_kwargs": lambda: (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True})
    }
    theirs, ours = (weights(trainer) for trainer in both(tmp_path, keywords))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_logs_and_evaluations_come_when_trainers_do(tmp_path: Path) -> None:
    options = {"logging_steps": 3, "logging_first_step": True, "max_steps": 7}
    theirs, ours = (
        [h["step"] for h in t.state.log_history if "loss" in h] for t in both(tmp_path, **options)
    )
    assert theirs == ours == [1, 3, 6]
    trainer = OODTrainer(
        make_model(),
        make_args(
            tmp_path, eval_strategy="steps", eval_steps=2, eval_delay=3, eval_on_start=True, max_steps=6
        ),
        train_dataset=make_dataset(),
        eval_dataset=make_dataset(seed=1),
    )
    trainer.train()
    assert [h["step"] for h in trainer.state.log_history if "eval_validation_loss" in h] == [0, 4, 6]


def test_checkpoints_are_kept_as_asked(tmp_path: Path) -> None:
    settings = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 2, "save_only_model": True}
    trainer = OODTrainer(make_model(), make_args(tmp_path, **settings), train_dataset=make_dataset())
    trainer.train()
    kept = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert kept == ["checkpoint-3", "checkpoint-4"]
    assert not (tmp_path / "checkpoint-4" / "optimizer.pt").exists()
    with pytest.raises(CorruptCheckpointError, match=r"holds no optimizer\.pt \(save_only_model"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


def test_a_smaller_batch_is_found_and_the_objective_starts_afresh(tmp_path: Path) -> None:
    class Small(LeNetForImageClassification):
        def forward(self, pixel_values: Tensor, **kwargs: Any) -> Any:
            if len(pixel_values) > 12:
                raise RuntimeError("CUDA out of memory.")
            return super().forward(pixel_values, **kwargs)

    set_seed(0)
    arguments = make_args(tmp_path, auto_find_batch_size=True)
    found = OODTrainer(Small(LeNetConfig()), arguments, objective=GroupDRO(), train_dataset=make_dataset())
    found.train()
    given = OODTrainer(
        make_model(),
        make_args(tmp_path, per_device_train_batch_size=12),
        objective=GroupDRO(),
        train_dataset=make_dataset(),
    )
    given.train()
    assert found._train_batch_size <= 12
    assert found.record.steps == given.record.steps and found.state.global_step == 4


@pytest.mark.parametrize("option", [name for name, given in REFUSED.items() if given and name != "fsdp"])
def test_refused_options_name_themselves_and_a_way_out(option: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=option.split("=")[0]) as refusal:
        OODTrainer(
            make_model(),
            make_args(tmp_path, **REFUSED[option]),
            train_dataset=make_dataset(),
            eval_dataset=make_dataset(seed=1),
        )
    assert any(way in str(refusal.value) for way in ("leave", "set ", "use ", "Use "))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fsdp": "full_shard"}, "fsdp does nothing on a CPU.*DistributedConfig"),
        ({"parallelism_config": SimpleNamespace(tp_size=2)}, "parallelism_config.tp_size"),
    ],
)
def test_refusals_that_depend_on_the_machine(
    changes: dict[str, Any], message: str, tmp_path: Path, dataset: EnvironmentDataset
) -> None:
    trainer = OODTrainer(make_model(), make_args(tmp_path), train_dataset=dataset)
    for name, value in changes.items():
        setattr(trainer.args, name, value)
    with pytest.raises(ValueError, match=message):
        checks.check_arguments(trainer.args, trainer.options, trainer.method)


def test_each_measure_declares_its_direction() -> None:
    assert {"accuracy", "macro_f1", "loss", "ece", "squared_error", "rmse", "gap"} <= set(RISES)
    assert rises("eval_validation_worst_accuracy") is True
    assert rises("eval_test_ward_squared_error") is False
    assert rises("eval_validation_kappa") is None


@pytest.mark.parametrize("plain", [False, True], ids=["OODConfig", "TrainingArguments"])
@pytest.mark.parametrize(
    ("metric", "keeps", "mode"), [("validation_loss", min, "min"), ("validation_mean_accuracy", max, "max")]
)
def test_the_best_checkpoint_follows_the_measures_direction(
    metric: str, keeps: Any, mode: str, plain: bool, tmp_path: Path
) -> None:
    options = {
        "num_train_epochs": 3,
        "eval_strategy": "epoch",
        "save_strategy": "best",
        "metric_for_best_model": metric,
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "per_device_train_batch_size": 24,
        "use_cpu": True,
        "disable_tqdm": True,
        "learning_rate": 1e-3,
    }
    arguments = (TrainingArguments if plain else OODConfig)(output_dir=str(tmp_path), **options)
    trainer = OODTrainer(
        make_model(), arguments, train_dataset=make_dataset(), eval_dataset=make_dataset(seed=1)
    )
    trainer.train()
    seen = [h[f"eval_{metric}"] for h in trainer.state.log_history if f"eval_{metric}" in h]
    assert trainer.state.best_metric == keeps(seen)
    assert trainer.lr_scheduler.mode == mode


def test_metrics_that_will_not_exist_and_unknown_directions_are_refused(tmp_path: Path) -> None:
    data = {"validation": make_dataset(seed=1)}
    with pytest.raises(ValueError, match=r"eval_validation_acuracy .*there will be: eval_validation_loss"):
        OODTrainer(
            make_model(),
            make_args(tmp_path, metric_for_best_model="eval_validation_acuracy"),
            train_dataset=make_dataset(),
            eval_dataset=data,
        )
    options = {"metric_for_best_model": "eval_validation_kappa"}
    keywords = {
        "train_dataset": make_dataset(),
        "eval_dataset": data,
        "compute_metrics": lambda p: {"kappa": 1.0},
    }
    with pytest.raises(ValueError, match="set greater_is_better"):
        OODTrainer(make_model(), make_args(tmp_path, **options), **keywords)
    own = OODTrainer(make_model(), make_args(tmp_path, greater_is_better=False, **options), **keywords)
    assert own.args.greater_is_better is False
    with pytest.raises(ValueError, match="loss falls as models get better"):
        make_args(tmp_path, metric_for_best_model="eval_validation_loss", greater_is_better=True)


def test_a_metric_of_ones_own_that_never_comes_is_found_before_the_first_step(tmp_path: Path) -> None:
    trainer = OODTrainer(
        make_model(),
        make_args(
            tmp_path,
            save_strategy="epoch",
            max_steps=-1,
            num_train_epochs=1,
            metric_for_best_model="eval_validation_kappa",
            greater_is_better=True,
        ),
        train_dataset=make_dataset(),
        eval_dataset=make_dataset(seed=1),
        compute_metrics=lambda prediction: {"capa": 1.0},
    )
    with pytest.raises(ValueError, match=r"eval_validation_kappa will not be among.*eval_validation_capa"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_early_stopping_is_quiet_about_other_splits(tmp_path: Path, caplog: Any) -> None:
    logging.enable_propagation()
    try:
        with caplog.at_level(python_logging.WARNING):
            OODTrainer(
                make_model(),
                make_args(tmp_path, max_steps=-1, num_train_epochs=1, save_strategy="epoch"),
                train_dataset=make_dataset(),
                eval_dataset={"validation": make_dataset(seed=1), "test": make_dataset(seed=2)},
                callbacks=[EarlyStoppingCallback(1)],
            ).train()
    finally:
        logging.disable_propagation()
    assert "early stopping" not in caplog.text


def test_an_ordinary_compute_metrics_sees_labels_and_may_see_environments(tmp_path: Path) -> None:
    data, seen = make_dataset(seed=1), []

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        seen.append(prediction)
        return {"own": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}

    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path, include_for_metrics=["inputs", "loss"]),
        train_dataset=make_dataset(),
        eval_dataset=data,
        compute_metrics=compute,
    )
    metrics = trainer.evaluate()
    (prediction,) = seen
    assert np.array_equal(prediction.label_ids, data.labels.numpy())
    assert np.array_equal(prediction.environments, data.environments.numpy())
    assert prediction.environment_names == data.environment_names
    assert prediction.inputs.shape == (180, 3, 28, 28) and len(prediction.losses) == 180
    assert metrics["eval_validation_own"] == metrics["eval_validation_accuracy"]
    assert np.array_equal(trainer.predict(data).label_ids, data.labels.numpy())


def test_losses_alone_are_what_is_asked_for(tmp_path: Path) -> None:
    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path, prediction_loss_only=True),
        train_dataset=make_dataset(),
        eval_dataset=make_dataset(seed=1),
    )
    assert "eval_validation_loss" in (metrics := trainer.evaluate())
    assert "eval_validation_accuracy" not in metrics


def test_what_is_given_is_never_changed_and_may_be_shared(tmp_path: Path) -> None:
    arguments, objective, averaging, data = (
        make_args(tmp_path),
        GroupDRO(step_size=5.0),
        EMA(),
        make_dataset(),
    )
    kept = copy.deepcopy((vars(arguments), vars(objective), vars(averaging), list(data.columns)))
    found = []
    for _ in range(2):
        trainer = OODTrainer(
            make_model(),
            arguments,
            objective=objective,
            averaging=averaging,
            train_dataset=data,
            eval_dataset=make_dataset(seed=1),
        )
        trainer.train()
        found.append((weights(trainer), trainer.objective.weights))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    now = vars(arguments), vars(objective), vars(averaging), list(data.columns)
    assert [str(part) for part in now] == [str(part) for part in kept]
    trainer.train()
    fresh = OODTrainer(trainer.model, arguments, objective=objective, train_dataset=data)
    assert fresh.objective.weights is None


def test_smoothing_and_the_losses_own_options_act(tmp_path: Path) -> None:
    found = {}
    for name, options in {
        "plain": {},
        "argument": {"label_smoothing_factor": 0.3},
        "loss": {"loss": CrossEntropy(label_smoothing=0.3)},
        "weighted": {"loss": CrossEntropy(class_weights="1,9")},
        "function": {
            "compute_loss_func": lambda outputs, labels, num_items_in_batch=None: (
                3 * nn.functional.cross_entropy(outputs.logits, labels, reduction="none")
            )
        },
    }.items():
        arguments = {k: options.pop(k) for k in list(options) if k == "label_smoothing_factor"}
        trainer = OODTrainer(
            make_model(),
            make_args(tmp_path, optim="sgd", learning_rate=0.1, **arguments),
            objective=IRM(penalty_weight=5.0, warmup_steps=0),
            train_dataset=make_dataset(),
            **options,
        )
        trainer.train()
        found[name] = weights(trainer)
    assert torch.equal(found["argument"], found["loss"])
    others = [found[name] for name in ("plain", "argument", "weighted", "function")]
    assert all(not torch.allclose(a, b) for i, a in enumerate(others) for b in others[:i])
    with pytest.raises(ValueError, match=r"label_smoothing_factor and loss="):
        OODTrainer(
            make_model(),
            make_args(tmp_path, label_smoothing_factor=0.1),
            loss=CrossEntropy(),
            train_dataset=make_dataset(),
        )


def test_a_schedule_that_is_given_takes_the_discriminator_along(tmp_path: Path) -> None:
    for make in (
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
        lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5),
    ):
        model = make_model()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        trainer = OODTrainer(
            model,
            make_args(tmp_path),
            objective=DANN(width=8),
            train_dataset=make_dataset(),
            optimizers=(optimizer, make(optimizer)),
        )
        trainer.train()
        first, own = optimizer.param_groups
        assert own["lr"] == pytest.approx(first["lr"]) and own["lr"] < 1e-3
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
    trainer = OODTrainer(
        model,
        make_args(tmp_path),
        objective=DANN(width=8),
        train_dataset=make_dataset(),
        optimizers=(optimizer, cycle),
    )
    with pytest.raises(ValueError, match="OneCycleLR cannot take along"):
        trainer.train()


def search(folder: Path, space: Any, objective: Any = None, **options: Any) -> Any:
    trainer = OODTrainer(
        None,
        make_args(folder, **options),
        model_init=lambda: make_model(),
        objective=objective,
        train_dataset=make_dataset(),
        eval_dataset={"validation": make_dataset(seed=1), "test": make_dataset(seed=2)},
    )
    return trainer, trainer.hyperparameter_search(space, n_trials=2, backend="optuna")


def test_a_search_follows_the_metric_and_reaches_the_methods_options(tmp_path: Path) -> None:
    drawn = []

    class Noting(VREx):
        def weight(self, step: int) -> float:
            drawn.append(self.penalty_weight)
            return super().weight(step)

    def space(trial: Any) -> dict[str, Any]:
        weight = trial.suggest_categorical("vrex.penalty_weight", [2.0, 3.0])
        return {"learning_rate": 1e-3, "vrex.penalty_weight": weight}

    trainer, best = search(tmp_path, space, Noting(warmup_steps=0))
    assert set(drawn) <= {2.0, 3.0} and drawn
    assert 0 <= best.objective <= 1
    assert isinstance(trainer.objective, Noting) and trainer.objective.penalty_weight == 10.0


def test_a_trial_that_diverges_fails_alone(tmp_path: Path) -> None:
    def space(trial: Any) -> dict[str, Any]:
        return {"learning_rate": 1e30 if trial.number == 0 else 1e-3}

    _, best = search(tmp_path, space, optim="sgd")
    assert best.run_id == "1"


def test_with_model_init_the_method_acts_on_the_network_that_trains(tmp_path: Path) -> None:
    trainer = OODTrainer(
        None,
        make_args(tmp_path),
        model_init=lambda: make_model(),
        objective=CORAL(penalty_weight=1e5),
        feature_transform=RSC(),
        train_dataset=make_dataset(),
    )
    trainer.train()
    assert trainer.state.log_history[0]["coral_penalty"] > 0


@pytest.mark.parametrize("quiet", [{"logging_strategy": "no"}, {"logging_steps": 50}])
def test_weights_that_break_in_the_last_step_are_found(quiet: dict[str, Any], tmp_path: Path) -> None:
    trainer = OODTrainer(
        make_model(),
        make_args(tmp_path, max_steps=1, optim="sgd", learning_rate=float("inf"), **quiet),
        train_dataset=make_dataset(),
    )
    with pytest.raises(NonFiniteLossError, match="left weights that are not finite"):
        trainer.train()


def test_logits_that_are_not_finite_are_no_class(tmp_path: Path) -> None:
    data = make_dataset(floats=True, seed=1)
    row = int((data.environments == 1).nonzero()[0])
    data.columns["pixel_values"][row] = torch.nan
    trainer = OODTrainer(make_model(), make_args(tmp_path), train_dataset=make_dataset())
    for measure in (trainer.predict, trainer.evaluate):
        with pytest.raises(
            NonFiniteLossError, match="not finite for 1 samples, in environment environment_1"
        ):
            measure(data)


def test_several_labels_a_sample_are_refused_with_the_way_out(tmp_path: Path) -> None:
    data = make_dataset()
    targets = EnvironmentDataset(
        data.columns["pixel_values"],
        torch.rand(180, 2),
        data.environments,
        data.label_names,
        data.environment_names,
    )
    with pytest.raises(ValueError, match=r"Several labels a sample.*per_sample"):
        OODTrainer(make_model(), make_args(tmp_path), train_dataset=targets)


def test_lenet_learns_a_number(tmp_path: Path) -> None:
    data = make_dataset()
    targets = EnvironmentDataset(
        data.columns["pixel_values"], data.labels.float(), data.environments, ["y"], data.environment_names
    )
    set_seed(0)
    trainer = OODTrainer(
        LeNetForImageClassification(LeNetConfig(num_labels=1)),
        make_args(tmp_path, max_steps=30),
        train_dataset=targets,
        eval_dataset=targets,
    )
    before = trainer.evaluate()["eval_validation_mean_squared_error"]
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_validation_mean_squared_error"] < before / 2
    assert after["eval_validation_loss"] == pytest.approx(
        after["eval_validation_mean_squared_error"], rel=1e-3
    )


def test_a_set_without_labels_is_predicted(tmp_path: Path) -> None:
    trainer, data = (
        OODTrainer(make_model(), make_args(tmp_path), train_dataset=make_dataset()),
        make_dataset(),
    )
    expected = trainer.predict(data)
    nameless = EnvironmentDataset(
        data.columns["pixel_values"], None, data.environments, [], data.environment_names
    )
    found = trainer.predict(nameless)
    assert np.array_equal(found.predictions, expected.predictions) and found.label_ids is None


@pytest.mark.parametrize("method", ["group_dro", "irm+mixup", "vrex+sam+ema"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_history_after_a_resume_is_the_undisturbed_one(
    method: str, accumulation: int, tmp_path: Path
) -> None:
    """The checkpoint lies between two log entries."""
    from hf_ood.trainer.methods import build_method

    def trainer(folder: Path, **options: Any) -> OODTrainer:
        settings = {
            "max_steps": 8,
            "logging_steps": 4,
            "gradient_accumulation_steps": accumulation,
            "per_device_train_batch_size": 24 // accumulation,
        }
        return OODTrainer(
            make_model(),
            make_args(folder, **settings, **options),
            **vars(build_method(method)),
            train_dataset=make_dataset(),
        )

    whole = trainer(tmp_path / "whole", save_strategy="steps", save_steps=6)
    whole.train()
    resumed = trainer(tmp_path / "again")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-6"))
    histories = [
        [{k: v for k, v in h.items() if not k.startswith("train_")} for h in t.state.log_history]
        for t in (whole, resumed)
    ]
    assert histories[0] == histories[1] and len(histories[0]) == 3
    assert torch.equal(weights(whole), weights(resumed))


@pytest.mark.parametrize("file", ["objective", "training_record", "averaging"])
def test_a_part_that_the_manifest_names_and_that_is_gone_is_an_error(file: str, tmp_path: Path) -> None:
    def trainer() -> OODTrainer:
        arguments = make_args(tmp_path, save_strategy="steps", save_steps=4)
        return OODTrainer(
            make_model(), arguments, objective=GroupDRO(), averaging=EMA(), train_dataset=make_dataset()
        )

    trainer().train()
    (tmp_path / "checkpoint-4" / f"{file}.safetensors").unlink()
    with pytest.raises(CorruptCheckpointError, match=rf"{file}\.safetensors is missing"):
        trainer().train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


def test_what_trains_less_than_it_says_is_told(tmp_path: Path, caplog: Any) -> None:
    logging.enable_propagation()
    try:
        OODTrainer(
            make_model(),
            make_args(tmp_path, per_device_train_batch_size=6, gradient_accumulation_steps=4),
            train_dataset=make_dataset((200, 200, 3)),
        )
        OODTrainer(
            make_model(), make_args(tmp_path, per_device_train_batch_size=2), train_dataset=make_dataset()
        )
    finally:
        logging.disable_propagation()
    assert "'environment_2' has 3 samples and fills 8 places of each step of 24" in caplog.text
    assert "each of them is drawn 45 times in an epoch" in caplog.text
    assert "A batch of 2 has no room for 3 environments" in caplog.text


def test_swad_that_chooses_itself_leaves_the_callers_arguments_alone(tmp_path: Path) -> None:
    arguments = make_args(tmp_path, max_steps=-1, num_train_epochs=1, save_strategy="epoch")
    OODTrainer(
        make_model(),
        arguments,
        averaging=SWAD(),
        train_dataset=make_dataset(),
        eval_dataset=make_dataset(seed=1),
    )
    assert arguments.load_best_model_at_end and arguments.metric_for_best_model is None
