"""What evaluations and predictions are of: environments and classes by name, labels or none, any data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_args, make_dataset, make_model
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage
from torch import Tensor
from transformers import DefaultDataCollator

from hf_ood import (
    CDANN,
    IRM,
    LISA,
    RSC,
    EnvironmentDataset,
    LeNetForImageClassification,
    LinearConfig,
    LinearForImageClassification,
    MLPConfig,
    MLPForImageClassification,
    OODTrainer,
    SmallResNetConfig,
    SmallResNetForImageClassification,
)

TRAINING, VALIDATION = make_dataset((24, 24, 24)), make_dataset((12, 9, 12), seed=1)


def make(folder: Path, options: dict[str, Any] | None = None, **changes: Any) -> OODTrainer:
    args = make_args(folder, report_to="none", **changes)
    return OODTrainer(make_model(), args, **{"train_dataset": TRAINING, **(options or {})})


def with_names(
    dataset: EnvironmentDataset, labels: list[str] | None = None, environments: list[str] | None = None
) -> EnvironmentDataset:
    """The same rows and names, whose ids are in another order."""
    label_names = labels or dataset.label_names
    names = environments or dataset.environment_names
    new_label = torch.tensor([label_names.index(name) for name in dataset.label_names])
    new_place = torch.tensor([names.index(name) for name in dataset.environment_names])
    return EnvironmentDataset(
        dataset.columns["pixel_values"],
        new_label[dataset.labels],
        new_place[dataset.environments],
        label_names,
        names,
    )


def without_labels(dataset: EnvironmentDataset) -> EnvironmentDataset:
    return EnvironmentDataset(
        dataset.columns["pixel_values"],
        None,
        dataset.environments,
        dataset.label_names,
        dataset.environment_names,
    )


def make_images(label_names: list[str], places: list[str], rows: int = 24, labelled: bool = True) -> Dataset:
    """Image number i belongs to class "a" or "b" and place "x" or "y", whatever the ids of these names."""
    images = [PILImage.new("RGB", (28, 28), (9 * number, 90 * (number % 2), 0)) for number in range(rows)]
    columns: dict[str, Any] = {
        "image": images,
        "environment": [places.index("xy"[number // 2 % 2]) for number in range(rows)],
    }
    features: dict[str, Any] = {"image": Image(), "environment": ClassLabel(names=places)}
    if labelled:
        columns["label"] = [label_names.index("ab"[number % 2]) for number in range(rows)]
        features["label"] = ClassLabel(names=label_names)
    return Dataset.from_dict(columns, features=Features(features))


def measures(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.endswith(("accuracy", "loss"))}


@pytest.mark.parametrize(
    "shown",
    [
        with_names(VALIDATION, labels=["class 1", "class 0"]),
        with_names(VALIDATION, environments=["environment_2", "environment_0", "environment_1"]),
        with_names(VALIDATION, environments=["unseen", *VALIDATION.environment_names]),
        with_names(VALIDATION, ["class 1", "class 0"], ["environment_1", "environment_2", "environment_0"]),
    ],
)
def test_names_decide_and_not_the_order_of_their_ids(shown: EnvironmentDataset, tmp_path: Path) -> None:
    trainer = make(tmp_path, max_steps=8)
    trainer.train()
    expected = measures(trainer.evaluate(VALIDATION))
    assert len({value for name, value in expected.items() if "environment_" in name}) > 2
    assert measures(trainer.evaluate(shown)) == pytest.approx(expected)
    trainer.eval_dataset = {"validation": shown}
    renamed = {name.replace("validation_", ""): value for name, value in measures(trainer.evaluate()).items()}
    assert renamed == pytest.approx(expected)
    predicted = trainer.predict(shown)
    np.testing.assert_array_equal(predicted.label_ids, VALIDATION.labels.numpy())


def test_a_place_that_training_does_not_know_is_reported_under_its_own_name(tmp_path: Path) -> None:
    elsewhere = with_names(VALIDATION)
    elsewhere.environment_names[1] = "elsewhere"
    metrics = make(tmp_path).evaluate(elsewhere)
    assert "eval_elsewhere_accuracy" in metrics and "eval_environment_1_accuracy" not in metrics
    replaced = make(tmp_path, {"eval_dataset": VALIDATION})
    replaced.eval_dataset = {"validation": elsewhere}
    assert "eval_validation_elsewhere_accuracy" in replaced.evaluate()


def test_a_class_that_training_does_not_know_is_refused_with_both_lists(tmp_path: Path) -> None:
    unknown = with_names(VALIDATION)
    unknown.label_names[1] = "class 7"
    trainer = make(tmp_path)
    for call in (trainer.evaluate, trainer.predict):
        with pytest.raises(
            ValueError, match=r"class 0, class 7\. The training set: class 0, class 1\..*by name"
        ):
            call(unknown)


def test_a_set_of_some_of_the_classes_is_measured_by_their_names(tmp_path: Path) -> None:
    ones = VALIDATION.select((VALIDATION.labels == 1).nonzero()[:, 0])
    only = EnvironmentDataset(
        ones.columns["pixel_values"],
        torch.zeros_like(ones.labels),
        ones.environments,
        ["class 1"],
        ones.environment_names,
    )
    trainer = make(tmp_path)
    assert measures(trainer.evaluate(only)) == pytest.approx(measures(trainer.evaluate(ones)))


def test_data_sets_of_the_hub_are_matched_by_name(tmp_path: Path) -> None:
    usual, other = make_images(["a", "b"], ["x", "y"]), make_images(["b", "a"], ["new", "y", "x"])
    trainer = make(tmp_path, {"train_dataset": usual}, per_device_train_batch_size=8)
    trainer.train()
    expected = measures(trainer.evaluate(usual))
    assert measures(trainer.evaluate(other)) == pytest.approx(expected)
    np.testing.assert_array_equal(trainer.predict(other).label_ids, trainer.predict(usual).label_ids)
    with pytest.raises(ValueError, match=r"a, b, c\. The training set: a, b\."):
        trainer.evaluate(make_images(["a", "b", "c"], ["x", "y"]))


@pytest.mark.parametrize("kind", ["images", "rows", "collated"])
def test_a_set_without_labels_is_predicted(kind: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {}
    if kind == "images":
        options = {"train_dataset": make_images(["a", "b"], ["x", "y"])}
        labelled, bare = options["train_dataset"], make_images([], ["x", "y"], labelled=False)
    else:
        labelled, bare = VALIDATION, without_labels(VALIDATION)
        options = {"data_collator": DefaultDataCollator()} if kind == "collated" else {}
    trainer = make(tmp_path, options, per_device_train_batch_size=8)
    trainer.train()
    result = trainer.predict(bare)
    np.testing.assert_allclose(result.predictions, trainer.predict(labelled).predictions, rtol=1e-5)
    assert result.label_ids is None
    assert not any("accuracy" in name or name.endswith("loss") for name in result.metrics)


def test_predictions_have_the_labels_alone_and_the_rows_in_order(tmp_path: Path) -> None:
    own: list[Any] = []
    options = {"compute_metrics": lambda prediction: own.append(prediction) or {}}
    for changes in ({}, {"include_for_metrics": ["inputs", "loss"]}, {"eval_accumulation_steps": 1}):
        trainer = make(tmp_path, options, per_device_eval_batch_size=10, **changes)
        result = trainer.predict(VALIDATION)
        assert isinstance(result.label_ids, np.ndarray)
        assert result.label_ids.tolist() == own[-1].label_ids.tolist() == VALIDATION.labels.tolist()
        assert own[-1].environments.tolist() == VALIDATION.environments.tolist()
        assert result.predictions.shape == (len(VALIDATION), 2)


def test_places_of_ones_own_metrics_are_those_of_the_evaluated_set(tmp_path: Path) -> None:
    names: list[list[str]] = []
    options = {"compute_metrics": lambda prediction: names.append(prediction.environment_names) or {}}
    elsewhere = with_names(VALIDATION, environments=["new", *VALIDATION.environment_names])
    trainer = make(tmp_path, options)
    trainer.evaluate(elsewhere)
    trainer.predict(VALIDATION)
    assert names == [elsewhere.environment_names, VALIDATION.environment_names]


def test_a_column_of_environments_may_have_any_name_and_hold_words(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((24, 3, 28, 28), dtype=np.float32)
    columns = {"pixel_values": pixels.tolist(), "labels": [0, 1] * 12, "hospital": ["B", "A", "A", "C"] * 6}
    trainer = make(
        tmp_path,
        {"train_dataset": Dataset.from_dict(columns), "environment_column": "hospital"},
        per_device_train_batch_size=9,
    )
    trainer.train()
    assert trainer.environment_names == ["A", "B", "C"]
    assert {f"eval_{name}_accuracy" for name in "ABC"} <= set(trainer.evaluate(Dataset.from_dict(columns)))


def make_targets(counts: tuple[int, ...], seed: int = 0) -> EnvironmentDataset:
    """Floats: the image's mean brightness."""
    data = make_dataset(counts, seed)
    means = data.columns["pixel_values"].float().mean((1, 2, 3)) / 255
    return EnvironmentDataset(
        data.columns["pixel_values"], means * 4, data.environments, ["y"], data.environment_names
    )


REGRESSIONS = {
    "lenet": lambda: make_model(num_labels=1),
    "mlp": lambda: MLPForImageClassification(MLPConfig(num_labels=1, hidden_size=16)),
    "linear": lambda: LinearForImageClassification(LinearConfig(num_labels=1, num_features=3 * 28 * 28)),
    "resnet": lambda: SmallResNetForImageClassification(
        SmallResNetConfig(num_labels=1, hidden_sizes=[8, 8], depths=[1, 1], embedding_size=8)
    ),
}


RATES = {"lenet": 1e-2, "mlp": 1e-3, "linear": 1e-4, "resnet": 1e-2}


def test_a_method_that_asks_for_classes_refuses_a_regression(tmp_path: Path) -> None:
    targets = make_targets((24, 24, 24))
    for part in ({"feature_transform": RSC()}, {"objective": CDANN(width=8)}, {"mixing": LISA()}):
        with pytest.raises(ValueError, match="a regression has none: use"):
            OODTrainer(make_model(num_labels=1), make_args(tmp_path), train_dataset=targets, **part)


@pytest.mark.parametrize("network", REGRESSIONS)
def test_a_regression_trains_and_its_squared_error_is_measured(network: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = {"max_steps": 6, "eval_strategy": "steps", "eval_steps": 6, "report_to": "none"}
    trainer = OODTrainer(
        REGRESSIONS[network](),
        make_args(tmp_path, **settings, optim="sgd", learning_rate=RATES[network], freeze_batch_norm=True),
        objective=IRM(0.001, 0),
        train_dataset=make_targets((24, 24, 24)),
        eval_dataset=make_targets((12, 12, 12), seed=1),
    )
    first = trainer.evaluate()["eval_validation_loss"]
    trainer.train()
    last = trainer.evaluate()
    assert last["eval_validation_loss"] < first
    result = trainer.predict(make_targets((12, 12, 12), seed=1))
    errors = (result.predictions[:, 0] - result.label_ids) ** 2
    assert last["eval_validation_loss"] == pytest.approx(errors.mean(), rel=1e-3)
    assert last["eval_validation_mean_squared_error"] == pytest.approx(errors.mean(), rel=1e-3)
    assert trainer.args.greater_is_better is False


def test_a_regressions_rows_of_the_hub_train(tmp_path: Path) -> None:
    kinds = Features(
        {"image": Image(), "label": Value("float32"), "environment": ClassLabel(names=["x", "y"])}
    )
    images = [PILImage.new("RGB", (28, 28), (9 * number, 0, 0)) for number in range(24)]
    columns = {"image": images, "label": [number / 24 for number in range(24)], "environment": [0, 1] * 12}
    rows = Dataset.from_dict(columns, features=kinds)
    model: LeNetForImageClassification = make_model(num_labels=1)
    args = make_args(tmp_path, per_device_train_batch_size=8, report_to="none")
    trainer = OODTrainer(model, args, train_dataset=rows, eval_dataset=rows)
    trainer.train()
    assert {"eval_validation_x_squared_error", "eval_validation_y_squared_error"} <= set(trainer.evaluate())


def test_the_networks_own_loss_is_the_squared_error_of_floats() -> None:
    pixels, targets = torch.rand(4, 3, 28, 28), torch.tensor([0.5, 1.0, -1.0, 2.0])
    for make_network in REGRESSIONS.values():
        output = make_network().eval()(pixel_values=pixels, labels=targets)
        expected: Tensor = (output.logits[:, 0] - targets).square().mean()
        torch.testing.assert_close(output.loss, expected)
