"""What would do nothing, or something else than it says, is an error that names it and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import ParallelismConfig
from conftest import make_args, make_dataset, make_model
from datasets import Dataset, Features, Value
from torch import Tensor
from transformers import TrainingArguments

from hf_ood import (
    EMA,
    LDAM,
    SAM,
    SWAD,
    CrossEntropy,
    EnvironmentDataset,
    LogitAdjusted,
    Mixup,
    OODTrainer,
    SquaredError,
)

TRAINING = make_dataset((24, 24, 24))
LIGER = {"use_liger_kernel": True}
# Option of `TrainingArguments` -> values, and the error's words: the option, and the way out.
REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "batch_eval_metrics": (
        {"batch_eval_metrics": True},
        "batch_eval_metrics.*leave it out.*eval_accumulation_steps",
    ),
    "eval_do_concat_batches": (
        {"eval_do_concat_batches": False},
        "eval_do_concat_batches=False.*leave it out",
    ),
    "use_liger_kernel": (LIGER, "use_liger_kernel.*leave it out"),
    "liger_kernel_config": (
        {**LIGER, "liger_kernel_config": {"rope": True}},
        "use_liger_kernel.*leave it out",
    ),
    "parallelism_config": (
        {"parallelism_config": ParallelismConfig(cp_size=2)},
        r"parallelism_config\.cp_size.*divide the data alone",
    ),
    "fsdp": ({"fsdp": True}, "fsdp does nothing on a CPU.*from_pretrained.*fsdp_size"),
    "fsdp_config": (
        {"fsdp": True, "fsdp_config": {"version": 2}},
        "fsdp does nothing on a CPU.*from_pretrained",
    ),
    "fp16": ({"fp16": True}, "fp16 does nothing on a CPU.*--bf16 true"),
}


@pytest.mark.parametrize("option", REFUSALS)
def test_it_is_refused_when_the_trainer_is_made(option: str, tmp_path: Path) -> None:
    changes, message = REFUSALS[option]
    args = make_args(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        OODTrainer(make_model(), args, train_dataset=TRAINING)


@pytest.mark.parametrize("degree", ["tp_size", "cp_size", "sp_size"])
def test_processes_that_see_the_same_samples_are_refused(degree: str, tmp_path: Path) -> None:
    args = make_args(tmp_path, parallelism_config=ParallelismConfig(**{degree: 2}))
    with pytest.raises(ValueError, match=rf"parallelism_config\.{degree}.*torchrun"):
        OODTrainer(make_model(), args, train_dataset=TRAINING)


@pytest.mark.parametrize("name", ["lomo", "adalomo"])
def test_an_optimizer_that_moves_weights_in_the_backward_pass_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"optim='{name}'.*use another optimizer"):
        OODTrainer(make_model(), make_args(tmp_path, optim=name), train_dataset=TRAINING)


@pytest.mark.parametrize("strategy", ["sequential", "group_by_length", "batch_rebalance"])
@pytest.mark.parametrize("proportions", ["equal", "groups"])
def test_two_orders_of_samples_are_refused(strategy: str, proportions: str, tmp_path: Path) -> None:
    args = make_args(tmp_path, train_sampling_strategy=strategy, environment_proportions=proportions)
    with pytest.raises(
        ValueError, match=f"{strategy}.*'{proportions}'.*set environment_proportions to 'natural'"
    ):
        OODTrainer(make_model(), args, train_dataset=TRAINING)


def mean_loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    return torch.nn.functional.cross_entropy(outputs.logits, labels)


def sample_losses(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    return torch.nn.functional.cross_entropy(outputs.logits, labels, reduction="none")


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        (
            {"label_smoothing_factor": 0.1},
            {"loss": CrossEntropy()},
            "give CrossEntropy.label_smoothing=0.1. as loss",
        ),
        (
            {"label_smoothing_factor": 0.1},
            {"compute_loss_func": sample_losses},
            "label_smoothing_factor would do nothing",
        ),
        (
            {},
            {"compute_loss_func": sample_losses, "loss": CrossEntropy()},
            "loss= would do nothing: leave it out",
        ),
        (
            {},
            {"compute_loss_func": sample_losses, "mixing": Mixup()},
            "mixup makes labels that are shares.*use loss=",
        ),
        (
            {},
            {"loss": LDAM(), "mixing": Mixup()},
            "mixup makes labels.*ldam takes samples of a single",
        ),
        (
            {"environment_proportions": "groups"},
            {"loss": CrossEntropy(class_weights="balanced")},
            "'groups' draws the classes equally often, and cross_entropy corrects",
        ),
        (
            {"environment_proportions": "groups"},
            {"loss": LogitAdjusted()},
            "'groups' draws the classes equally often, and logit_adjusted corrects",
        ),
        ({}, {"loss": SquaredError()}, "squared_error is not the loss of these data, whose labels are cl"),
        ({}, {"loss": CrossEntropy(class_weights=[1, 2, 3])}, "has 3 numbers, but there are 2 classes"),
        ({"torch_empty_cache_steps": 1}, {"update": SAM()}, "sam.*leave torch_empty_cache_steps out"),
        ({}, {"averaging": SWAD()}, "swad goes by the validation loss: give an eval_dataset"),
    ],
)
def test_two_options_that_contradict_each_other_are_refused(
    changes: dict, options: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        OODTrainer(make_model(), make_args(tmp_path, **changes), train_dataset=TRAINING, **options)


def test_a_loss_function_that_gives_a_mean_is_refused_before_the_first_step(tmp_path: Path) -> None:
    trainer = OODTrainer(
        make_model(), make_args(tmp_path), train_dataset=TRAINING, compute_loss_func=mean_loss
    )
    with pytest.raises(ValueError, match=r"compute_loss_func gave \[\] for 2 samples.*reduction='none'"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_losses_that_do_not_come_from_the_logits_are_refused(tmp_path: Path) -> None:
    def constant(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return outputs.logits.detach()[:, 0] + torch.zeros(1, requires_grad=True)

    trainer = OODTrainer(
        make_model(), make_args(tmp_path), train_dataset=TRAINING, compute_loss_func=constant
    )
    with pytest.raises(ValueError, match=r"must use outputs\.logits"):
        trainer.train()


def test_a_stream_is_refused_in_training_and_in_evaluation(tmp_path: Path) -> None:
    stream = Dataset.from_dict({"environment": [0, 1], "label": [0, 1]}).to_iterable_dataset()
    with pytest.raises(TypeError, match=r"IterableDataset: .*give a datasets\.Dataset"):
        OODTrainer(make_model(), make_args(tmp_path), train_dataset=stream)
    with pytest.raises(TypeError, match=r"IterableDataset: .*give a datasets\.Dataset"):
        OODTrainer(make_model(), make_args(tmp_path), train_dataset=TRAINING, eval_dataset=stream)
    trainer = OODTrainer(make_model(), make_args(tmp_path), train_dataset=TRAINING)
    for call in (trainer.evaluate, trainer.predict):
        with pytest.raises(TypeError, match=r"IterableDataset: .*give a datasets\.Dataset"):
            call(stream)


def test_several_labels_of_a_sample_take_a_model_of_several_labels(tmp_path: Path) -> None:
    several = EnvironmentDataset(
        TRAINING.columns["pixel_values"],
        torch.nn.functional.one_hot(TRAINING.labels, 2).float(),
        TRAINING.environments,
        ["a", "b"],
        TRAINING.environment_names,
    )
    model = make_model()
    for data, kind in ((several, None), (TRAINING, "multi_label_classification")):
        model.config.problem_type = kind
        with pytest.raises(
            ValueError, match=r"problem_type.*(several|one) labels? a sample|(several|one) labels? a"
        ):
            OODTrainer(model, make_args(tmp_path), train_dataset=data)


def test_several_labels_of_a_row_of_a_hub_dataset_are_refused(tmp_path: Path) -> None:
    kinds = Features({"x": Value("float32"), "label": [Value("float32")], "environment": Value("int64")})
    rows = {"x": [0.0, 1.0], "label": [[0.0, 1.0], [1.0, 0.0]], "environment": [0, 1]}
    with pytest.raises(ValueError, match="labels"):
        OODTrainer(make_model(), make_args(tmp_path), train_dataset=Dataset.from_dict(rows, features=kinds))


def make_chosen(
    folder: Path, evaluated: Any = None, options: dict[str, Any] | None = None, **changes: Any
) -> OODTrainer:
    args = make_args(folder, **{"save_strategy": "epoch", "max_steps": -1, "num_train_epochs": 1, **changes})
    return OODTrainer(
        make_model(),
        args,
        train_dataset=TRAINING,
        eval_dataset=make_dataset((8, 8, 8), seed=1) if evaluated is None else evaluated,
        **(options or {}),
    )


@pytest.mark.parametrize(
    "metric", ["f1", "eval_validation_f2_accuracy", "test_mean_accuracy", "accuracy_mean"]
)
def test_a_metric_that_will_not_exist_is_refused_with_those_that_will(metric: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=f"{metric} will not be among.*there will be: eval_validation_loss, "
    ):
        make_chosen(tmp_path, metric_for_best_model=metric)


def test_a_metric_that_needs_predictions_is_refused_where_only_losses_are_asked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"worst_accuracy will not be.*there will be: eval_validation_loss"):
        make_chosen(tmp_path, metric_for_best_model="worst_accuracy", prediction_loss_only=True)


def test_a_metric_of_ones_own_needs_its_direction(tmp_path: Path) -> None:
    own = {"compute_metrics": lambda prediction: {"kappa": 0.0}}
    with pytest.raises(
        ValueError, match=r"whether eval_validation_kappa rises or falls.*set greater_is_better"
    ):
        make_chosen(tmp_path, options=own, metric_for_best_model="kappa")
    made = make_chosen(tmp_path, options=own, metric_for_best_model="kappa", greater_is_better=False)
    assert made.args.greater_is_better is False


def test_a_metric_that_compute_metrics_never_gives_is_named_at_the_first_choice(tmp_path: Path) -> None:
    trainer = make_chosen(
        tmp_path,
        options={"compute_metrics": lambda prediction: {"kapa": 0.5}},
        metric_for_best_model="kappa",
        greater_is_better=True,
    )
    with pytest.raises((KeyError, ValueError), match=r"eval_validation_kappa.*eval_validation_kapa"):
        trainer.train()


@pytest.mark.parametrize(
    ("metric", "wrong"),
    [
        ("eval_validation_loss", True),
        ("eval_validation_mean_squared_error", True),
        ("eval_validation_mean_accuracy", False),
        ("eval_test_worst_accuracy", False),
        (None, False),
    ],
)
def test_a_direction_that_contradicts_the_metric_is_refused(
    metric: str | None, wrong: bool, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"greater_is_better={wrong}, but .* leave greater_is_better out"):
        make_args(tmp_path, metric_for_best_model=metric, greater_is_better=wrong)


def test_a_schedule_that_follows_a_metric_needs_one(tmp_path: Path) -> None:
    for schedule in ("reduce_lr_on_plateau", "greedy"):
        args = make_args(tmp_path, lr_scheduler_type=schedule)
        unlabelled = make_dataset((8, 8, 8), seed=1)
        with pytest.raises(ValueError, match="f1 will not be among"):
            args.metric_for_best_model = "f1"
            OODTrainer(make_model(), args, train_dataset=TRAINING, eval_dataset=unlabelled)


def test_arguments_themselves_are_checked_whatever_their_class(tmp_path: Path) -> None:
    args = TrainingArguments(str(tmp_path), use_cpu=True, batch_eval_metrics=True, report_to="none")
    with pytest.raises(ValueError, match="batch_eval_metrics"):
        OODTrainer(make_model(), args, train_dataset=TRAINING, averaging=EMA())


def test_processes_that_do_not_know_of_each_other_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torchrun on a machine without accelerator starts them, under arguments that do not say gloo."""
    args = make_args(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"2 processes were launched.*the arguments know of 1.*ddp_backend"):
        OODTrainer(make_model(), args, train_dataset=TRAINING)
