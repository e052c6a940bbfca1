"""What the engine takes over from `Trainer`: each option's effect here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_args, make_dataset, make_model
from datasets import ClassLabel, Dataset, Features, Image
from option_table import shows
from PIL import Image as PILImage
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, OneCycleLR, ReduceLROnPlateau
from transformers import (
    DefaultDataCollator,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    default_data_collator,
)
from transformers.trainer_callback import ProgressCallback

from hf_ood import DANN, ERM, IRM, GroupDRO, OODTrainer, VREx
from hf_ood.methods.objectives import Objective
from hf_ood.trainer import CorruptCheckpointError, NonFiniteLossError
from hf_ood.trainer.callbacks import EnvironmentProgress

TRAINING, VALIDATION = make_dataset((24, 24, 24)), make_dataset((12, 9, 12), seed=1)


def weights(trainer: Trainer) -> Tensor:
    return torch.cat([own.detach().flatten() for own in trainer.model.parameters()]).clone()


def make(folder: Path, options: dict[str, Any] | None = None, **changes: Any) -> OODTrainer:
    args = make_args(folder, report_to="none", **changes)
    return OODTrainer(make_model(), args, **{"train_dataset": TRAINING, **(options or {})})


def trained(folder: Path, options: dict[str, Any] | None = None, **changes: Any) -> OODTrainer:
    trainer = make(folder, options, **changes)
    trainer.train()
    return trainer


def seen(trainer: OODTrainer) -> list[int]:
    """The first pixels of the rows of an epoch, in order: which rows came when."""
    return [
        int(row[0, 0, 0] * 255) for batch in trainer.get_train_dataloader() for row in batch["pixel_values"]
    ]


def make_images(names: tuple[str, ...] = ("x", "y"), rows: int = 24) -> Dataset:
    features = Features(
        {
            "image": Image(),
            "label": ClassLabel(names=["a", "b"]),
            "environment": ClassLabel(names=list(names)),
        }
    )
    return Dataset.from_dict(
        {
            "image": [
                PILImage.new("RGB", (28, 28), (9 * number, 90 * (number % 2), 0)) for number in range(rows)
            ],
            "label": [number % 2 for number in range(rows)],
            "environment": [number % len(names) for number in range(rows)],
        },
        features=features,
    )


@shows("model")
def test_any_network_with_logits_is_trained(tmp_path: Path) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(3 * 28 * 28, 2)

        def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
            logits = self.last(pixel_values.flatten(1))
            loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
            return {"loss": loss, "logits": logits}

    class Named(Plain):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            from transformers.modeling_outputs import ImageClassifierOutput

            return ImageClassifierOutput(**super().forward(*args, **kwargs))

    network = Named()
    before = network.last.weight.detach().clone()
    OODTrainer(network, make_args(tmp_path), train_dataset=TRAINING, eval_dataset=VALIDATION).train()
    assert not torch.equal(network.last.weight, before)


@shows("args")
def test_plain_arguments_train_with_the_defaults_of_the_environment_options(tmp_path: Path) -> None:
    settings = {"per_device_train_batch_size": 24, "max_steps": 2, "use_cpu": True, "report_to": "none"}
    args = TrainingArguments(str(tmp_path), disable_tqdm=True, **settings)
    before = dict(vars(args))
    trainer = OODTrainer(make_model(), args, train_dataset=TRAINING, eval_dataset=VALIDATION)
    trainer.train()
    batch = next(iter(trainer.get_train_dataloader()))
    assert batch["environment"].bincount().tolist() == [8, 8, 8]
    assert {name: value for name, value in vars(args).items() if before.get(name) != value} == {}


@shows("train_dataset", "eval_dataset")
def test_data_sets_of_the_hub_train_and_evaluate(tmp_path: Path) -> None:
    rows = make_images()
    options = {"train_dataset": rows, "eval_dataset": {"validation": rows, "test": make_images(("y", "z"))}}
    metrics = trained(tmp_path, options, per_device_train_batch_size=8).evaluate()
    for name in ("validation_x", "validation_y", "test_y", "test_z"):
        assert f"eval_{name}_accuracy" in metrics
    assert "eval_test_x_accuracy" not in metrics


@pytest.mark.parametrize("collator", [DefaultDataCollator(), default_data_collator])
@shows("data_collator")
def test_a_collator_of_rows_gets_rows_without_environments(collator: Callable, tmp_path: Path) -> None:
    names: list[set[str]] = []

    def noting(rows: list[dict[str, Any]]) -> dict[str, Any]:
        assert isinstance(rows, list)
        names.extend(set(row) for row in rows)
        return collator(rows)

    options = {"data_collator": noting, "eval_dataset": VALIDATION}
    ours = trained(tmp_path, options)
    plain = trained(tmp_path, {"eval_dataset": VALIDATION})
    torch.testing.assert_close(weights(ours), weights(plain))
    assert names and all("environment" not in row and "labels" in row for row in names)
    assert ours.evaluate()["eval_validation_loss"] == pytest.approx(plain.evaluate()["eval_validation_loss"])


@pytest.mark.parametrize("objective", [ERM(), IRM(10.0, 1), DANN(width=8)])
@shows("model_init")
def test_a_network_made_when_training_begins_trains_as_a_given_one(
    objective: Objective, tmp_path: Path
) -> None:
    given = trained(tmp_path, {"objective": objective})
    options = {"objective": objective, "train_dataset": TRAINING, "model_init": lambda: make_model()}
    made = OODTrainer(None, make_args(tmp_path, report_to="none"), **options)
    made.train()
    torch.testing.assert_close(weights(made), weights(given))
    first = made.model
    made.train()
    assert made.model is not first
    torch.testing.assert_close(weights(made), weights(given))


def doubled(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    return 2 * nn.functional.cross_entropy(outputs.logits, labels, reduction="none")


@pytest.mark.parametrize("objective", [ERM(), IRM(10.0, 1), VREx(10.0, 1), GroupDRO()])
@shows("compute_loss_func")
def test_a_loss_function_of_ones_own_lies_beneath_every_objective(
    objective: Objective, tmp_path: Path
) -> None:
    def plain(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return nn.functional.cross_entropy(outputs.logits, labels, reduction="none")

    options = {"objective": objective}
    settings = {"optim": "sgd", "learning_rate": 0.1}
    own = trained(tmp_path, {**options, "compute_loss_func": plain}, **settings)
    usual = trained(tmp_path, options, **settings)
    torch.testing.assert_close(weights(own), weights(usual), rtol=1e-4, atol=1e-5)
    other = trained(tmp_path, {**options, "compute_loss_func": doubled}, **settings)
    assert (weights(other) - weights(usual)).abs().max() > 1e-4


def test_a_loss_function_of_ones_own_is_exact_in_parts_of_a_step(tmp_path: Path) -> None:
    options = {"objective": IRM(10.0, 0), "compute_loss_func": doubled}
    whole, parts = (
        trained(tmp_path, options, optim="sgd", max_steps=3, learning_rate=0.1, **layout)
        for layout in ({}, {"per_device_train_batch_size": 12, "gradient_accumulation_steps": 2})
    )
    assert whole.state.log_history[0]["loss"] == pytest.approx(parts.state.log_history[0]["loss"], abs=0.05)


@shows("compute_metrics")
def test_metrics_of_ones_own_get_labels_alone_and_stand_beside_the_librarys(tmp_path: Path) -> None:
    got: list[Any] = []

    def accuracies(prediction: Any) -> dict[str, float]:
        got.append(prediction)
        logits, labels = prediction
        right = logits.argmax(-1) == labels
        return {
            f"own_{name}": float(right[prediction.environments == number].mean())
            for number, name in enumerate(prediction.environment_names)
        }

    trainer = make(tmp_path, {"eval_dataset": VALIDATION, "compute_metrics": accuracies})
    metrics = trainer.evaluate()
    assert got[0].label_ids.tolist() == VALIDATION.labels.tolist()
    assert got[0].environments.tolist() == VALIDATION.environments.tolist()
    assert list(got[0].environment_names) == VALIDATION.environment_names
    for name in VALIDATION.environment_names:
        assert metrics[f"eval_validation_own_{name}"] == metrics[f"eval_validation_{name}_accuracy"]


@pytest.mark.parametrize("accumulated", [None, 1])
@shows("include_for_metrics")
def test_inputs_and_losses_are_there_where_they_are_asked_for(
    accumulated: int | None, tmp_path: Path
) -> None:
    got: list[Any] = []
    options = {"eval_dataset": VALIDATION, "compute_metrics": lambda prediction: got.append(prediction) or {}}
    settings = {"per_device_eval_batch_size": 10, "eval_accumulation_steps": accumulated}
    make(tmp_path, options, **settings).evaluate()
    asked = make(tmp_path, options, include_for_metrics=["inputs", "loss"], **settings)
    loss = asked.evaluate()["eval_validation_loss"]
    assert got[0].inputs is None and got[0].losses is None
    expected = VALIDATION.columns["pixel_values"].numpy() / 255
    np.testing.assert_allclose(got[1].inputs, expected, rtol=1e-5, atol=1e-6)
    assert got[1].losses.mean() == pytest.approx(loss)
    for prediction in got:
        assert prediction.label_ids.tolist() == VALIDATION.labels.tolist()
        assert prediction.environments.tolist() == VALIDATION.environments.tolist()


@shows("preprocess_logits_for_metrics")
def test_preprocessed_logits_go_to_the_user_and_the_logits_are_measured(tmp_path: Path) -> None:
    labels_seen: list[Any] = []

    def classes(logits: Tensor, labels: Tensor) -> Tensor:
        labels_seen.append(labels)
        return logits.argmax(-1)

    got: list[Any] = []
    options = {
        "eval_dataset": VALIDATION,
        "preprocess_logits_for_metrics": classes,
        "compute_metrics": lambda prediction: got.append(prediction) or {},
    }
    trainer, plain = make(tmp_path, options), make(tmp_path, {"eval_dataset": VALIDATION})
    found, expected = trainer.evaluate(), plain.evaluate()
    for name in (name for name in expected if name.endswith(("accuracy", "loss"))):
        assert found[name] == pytest.approx(expected[name]), name
    predicted = plain.predict(VALIDATION).predictions.argmax(-1)
    assert got[0].predictions.tolist() == predicted.tolist()
    assert trainer.predict(VALIDATION).predictions.tolist() == predicted.tolist()
    assert isinstance(labels_seen[0], Tensor) and labels_seen[0].shape == (len(VALIDATION),)


def pair_for(
    objective: Objective, scheduler: Callable[[Any], Any] | None, folder: Path, **changes: Any
) -> OODTrainer:
    model = make_model()
    optimizer = Adam(model.parameters(), lr=1e-2)
    options = {"optimizers": (optimizer, scheduler and scheduler(optimizer)), "objective": objective}
    return OODTrainer(
        model, make_args(folder, report_to="none", **changes), train_dataset=TRAINING, **options
    )


@pytest.mark.parametrize(
    "scheduler",
    [
        None,
        lambda optimizer: LambdaLR(optimizer, lambda step: 1 / (step + 1)),
        lambda optimizer: ReduceLROnPlateau(optimizer, min_lr=1e-5),
    ],
)
@shows("optimizers")
def test_a_given_optimizer_takes_the_objectives_own_network_along(scheduler: Any, tmp_path: Path) -> None:
    trainer = pair_for(DANN(width=8), scheduler, tmp_path)
    before = [own.detach().clone() for own in trainer.objective.parameters()]
    trainer.train()
    for old, own in zip(before, trainer.objective.parameters(), strict=True):
        assert not torch.equal(old, own)
    network, discriminator = trainer.optimizer.param_groups
    rate = trainer.objective.learning_rate(trainer.args.learning_rate)
    assert discriminator["lr"] / rate == pytest.approx(network["lr"] / 1e-2)


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda optimizer: OneCycleLR(optimizer, 0.1, total_steps=10),
        lambda optimizer: CyclicLR(optimizer, 1e-3, 1e-2, cycle_momentum=False),
    ],
)
def test_a_schedule_that_takes_no_further_group_is_refused(scheduler: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"dann trains.*(OneCycle|Cyclic)LR cannot take along.*set lr_scheduler_type"
    ):
        pair_for(DANN(width=8), scheduler, tmp_path).train()
    pair_for(ERM(), scheduler, tmp_path).train()


@pytest.mark.parametrize("objective", [ERM(), IRM(10.0, 0), VREx(10.0, 0), GroupDRO()])
@shows("label_smoothing_factor")
def test_smoothed_labels_change_every_objective_and_no_evaluation(
    objective: Objective, tmp_path: Path
) -> None:
    options = {"objective": objective, "eval_dataset": VALIDATION}
    plain, smooth = (trained(tmp_path, options, label_smoothing_factor=share) for share in (0.0, 0.3))
    assert not torch.equal(weights(plain), weights(smooth))
    smooth.model.load_state_dict(plain.model.state_dict())
    assert smooth.evaluate()["eval_validation_loss"] == pytest.approx(
        plain.evaluate()["eval_validation_loss"]
    )


@shows("gradient_accumulation_steps")
def test_parts_of_a_step_make_the_step(tmp_path: Path) -> None:
    data = make_dataset((12, 12))
    options = {"objective": VREx(10.0, 0), "train_dataset": data}
    whole, parts = (
        trained(
            tmp_path,
            options,
            optim="sgd",
            learning_rate=0.1,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=24 // size,
        )
        for size in (24, 8)
    )
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-4, atol=1e-6)


@shows("max_grad_norm")
def test_the_objectives_own_gradients_are_clipped_with_the_networks(tmp_path: Path) -> None:
    rates = {"optim": "sgd", "learning_rate": 1.0, "max_steps": 1}
    objective = DANN(width=8, learning_rate_factor=1.0)
    trainer = make(tmp_path, {"objective": objective}, max_grad_norm=1e-3, **rates)
    before = [own.detach().clone() for own in (*trainer.model.parameters(), *trainer.objective.parameters())]
    trainer.train()
    after = [*trainer.model.parameters(), *trainer.objective.parameters()]
    moved = torch.cat([(old - own.detach()).flatten() for old, own in zip(before, after, strict=True)])
    assert moved.norm().item() == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize(
    ("schedule", "metric", "mode"),
    [
        ("reduce_lr_on_plateau", None, "max"),
        ("reduce_lr_on_plateau", "eval_validation_loss", "min"),
        ("greedy", None, "max"),
        ("greedy", "loss", "min"),
    ],
)
@shows("lr_scheduler_type")
def test_a_schedule_that_follows_a_metric_goes_its_way(
    schedule: str, metric: str | None, mode: str, tmp_path: Path
) -> None:
    options = {"eval_dataset": VALIDATION}
    trainer = trained(tmp_path, options, lr_scheduler_type=schedule, metric_for_best_model=metric)
    assert trainer.lr_scheduler.mode == mode


class Cramped(nn.Module):
    """A network that runs out of memory above 6 samples."""

    def __init__(self) -> None:
        super().__init__()
        self.network = make_model()
        self.config = self.network.config

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
        if self.training and len(pixel_values) > 6:
            raise RuntimeError("CUDA out of memory.")
        return self.network(pixel_values, labels)


@shows("auto_find_batch_size")
def test_a_smaller_batch_is_found_and_the_methods_state_starts_afresh(tmp_path: Path) -> None:
    starts: list[Any] = []

    class Noting(GroupDRO):
        def start(self, total_steps: int) -> None:
            super().start(total_steps)
            starts.append((total_steps, self.weights))

    options = {"objective": Noting(), "train_dataset": TRAINING}
    settings = {
        "per_device_train_batch_size": 24,
        "max_steps": -1,
        "num_train_epochs": 1,
        "report_to": "none",
    }
    trainer = OODTrainer(Cramped(), make_args(tmp_path, auto_find_batch_size=True, **settings), **options)
    trainer.train()
    assert trainer._train_batch_size == 6 or trainer._train_batch_size < 6
    assert trainer.state.global_step == len(TRAINING) // trainer._train_batch_size
    assert len(starts) > 1 and all(weights is None for _, weights in starts)
    small = replace_batch(tmp_path, trainer._train_batch_size)
    torch.testing.assert_close(weights(trainer), weights(small))


def replace_batch(folder: Path, size: int) -> OODTrainer:
    settings = {
        "per_device_train_batch_size": size,
        "max_steps": -1,
        "num_train_epochs": 1,
        "report_to": "none",
    }
    trainer = OODTrainer(
        Cramped(), make_args(folder, **settings), objective=GroupDRO(), train_dataset=TRAINING
    )
    trainer.train()
    return trainer


@shows("train_sampling_strategy")
def test_rows_come_in_their_own_order_where_it_is_asked_for(tmp_path: Path) -> None:
    settings = {"environment_proportions": "natural", "train_sampling_strategy": "sequential"}
    firsts = TRAINING.columns["pixel_values"][:, 0, 0, 0].tolist()
    assert seen(make(tmp_path, **settings)) == pytest.approx(firsts, abs=1)
    settings["train_sampling_strategy"] = "random"
    assert seen(make(tmp_path, **settings)) != pytest.approx(firsts, abs=1)


@shows("dataloader_drop_last")
def test_the_last_batch_is_left_out_of_training_and_never_of_results(tmp_path: Path) -> None:
    settings = {"per_device_train_batch_size": 21, "per_device_eval_batch_size": 10}
    dropping, keeping = (
        make(tmp_path, {"eval_dataset": VALIDATION}, dataloader_drop_last=drop, **settings)
        for drop in (True, False)
    )
    assert (len(seen(dropping)), len(seen(keeping))) == (63, 72)
    for trainer in (dropping, keeping):
        assert len(trainer.predict(VALIDATION).predictions) == len(VALIDATION)
        assert [len(batch["labels"]) for batch in trainer.get_eval_dataloader("validation")] == [
            10,
            10,
            10,
            3,
        ]


@pytest.mark.parametrize("removed", [True, False])
@shows("remove_unused_columns")
def test_the_environment_stays_when_columns_go(removed: bool, tmp_path: Path) -> None:
    columns: list[set[str]] = []

    def noting(rows: list[dict[str, Any]]) -> dict[str, Any]:
        columns.append(set(rows[0]))
        return default_data_collator([{k: v for k, v in row.items() if k != "note"} for row in rows])

    pixels = np.random.default_rng(0).random((24, 3, 28, 28), dtype=np.float32)
    rows = {
        "pixel_values": pixels.tolist(),
        "labels": [0, 1] * 12,
        "place": ["x", "y", "y"] * 8,
        "note": [7] * 24,
    }
    trainer = OODTrainer(
        make_model(),
        make_args(
            tmp_path,
            max_steps=1,
            per_device_train_batch_size=8,
            remove_unused_columns=removed,
            report_to="none",
        ),
        train_dataset=Dataset.from_dict(rows),
        data_collator=noting,
        environment_column="place",
    )
    trainer.train()
    assert ("note" in columns[-1]) is not removed
    assert {"accuracy_x", "accuracy_y"} <= set(trainer.state.log_history[0])


@shows("label_names")
def test_environments_are_gathered_beside_the_named_labels(tmp_path: Path) -> None:
    trainer = make(tmp_path, {"eval_dataset": VALIDATION}, label_names=["labels"])
    assert trainer.label_names == ["labels", "environment"]
    plain = make(tmp_path, {"eval_dataset": VALIDATION})
    name = "eval_validation_worst_accuracy"
    assert trainer.evaluate()[name] == plain.evaluate()[name]


@shows("seed", "data_seed")
def test_the_order_of_rows_is_that_of_the_data_seed_or_else_of_the_seed(tmp_path: Path) -> None:
    orders = {
        (seed, data_seed): seen(make(tmp_path, seed=seed, data_seed=data_seed))
        for seed, data_seed in ((1, None), (2, None), (1, 2), (2, 1))
    }
    assert orders[1, None] == orders[2, 1] != orders[2, None] == orders[1, 2]


@pytest.mark.parametrize("filtered", [True, False])
@shows("logging_nan_inf_filter")
def test_a_loss_that_is_not_finite_stops_the_training_filtered_or_not(filtered: bool, tmp_path: Path) -> None:
    rows = make_dataset((24, 24, 24), floats=True)
    rows.columns["pixel_values"][3] = torch.nan
    with pytest.raises(NonFiniteLossError):
        trained(tmp_path, {"train_dataset": rows}, logging_nan_inf_filter=filtered, max_steps=6)


@shows("disable_tqdm")
def test_the_progress_bar_is_that_of_environments(tmp_path: Path) -> None:
    kinds = {type(c) for c in make(tmp_path, disable_tqdm=False).callback_handler.callbacks}
    assert EnvironmentProgress in kinds and ProgressCallback not in kinds
    quiet = {type(c) for c in make(tmp_path, disable_tqdm=True).callback_handler.callbacks}
    assert PrinterCallback in quiet and EnvironmentProgress not in quiet


@shows("prediction_loss_only")
def test_checkpoints_are_chosen_by_the_loss_where_nothing_else_is_computed(tmp_path: Path) -> None:
    settings = {"save_strategy": "epoch", "max_steps": -1, "num_train_epochs": 2}
    trainer = trained(tmp_path, {"eval_dataset": VALIDATION}, prediction_loss_only=True, **settings)
    losses = [
        entry["eval_validation_loss"]
        for entry in trainer.state.log_history
        if "eval_validation_loss" in entry
    ]
    assert trainer.args.metric_for_best_model == "eval_validation_loss"
    assert trainer.state.best_metric == min(losses)
    assert not any(
        "accuracy" in name for entry in trainer.state.log_history for name in entry if "eval" in name
    )


@shows("save_only_model")
def test_a_checkpoint_of_the_network_alone_cannot_be_resumed_from(tmp_path: Path) -> None:
    settings = {"save_strategy": "steps", "save_steps": 2}
    trained(tmp_path, save_only_model=True, **settings)
    resumed = make(tmp_path)
    with pytest.raises(CorruptCheckpointError, match=r"holds no optimizer\.pt \(save_only_model"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


@shows("load_best_model_at_end")
def test_the_best_checkpoint_is_the_end_by_default_and_the_last_step_where_asked(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "save_strategy": "steps",
        "eval_strategy": "steps",
        "save_steps": 1,
        "eval_steps": 1,
    }
    settings |= {"learning_rate": 0.3, "optim": "sgd", "save_total_limit": None}
    options = {"eval_dataset": VALIDATION}
    best = trained(tmp_path / "best", options, metric_for_best_model="loss", **settings)
    last = trained(tmp_path / "last", options, load_best_model_at_end=False, **settings)
    assert best.args.load_best_model_at_end and not last.args.load_best_model_at_end
    losses = [e["eval_validation_loss"] for e in best.state.log_history if "eval_validation_loss" in e]
    assert best.evaluate()["eval_validation_loss"] == pytest.approx(min(losses))
    assert last.evaluate()["eval_validation_loss"] == pytest.approx(losses[-1])


@shows("torch_compile", "torch_compile_backend", "torch_compile_mode")
def test_a_compiled_network_trains_alike(tmp_path: Path) -> None:
    settings = {"max_steps": 1, "optim": "sgd"}
    plain = trained(tmp_path, **settings)
    compiled = trained(tmp_path, torch_compile=True, torch_compile_backend="eager", **settings)
    assert compiled.args.torch_compile_mode is None
    torch.testing.assert_close(weights(compiled), weights(plain))
