"""Label columns as classes, as several labels, and as numbers; what is none of them is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from hf_ood.data import Columns, EnvironmentDataset, Protocol, environment_datasets
from hf_ood.data.targets import Targets, in_order_of, read_targets, task_of

NAN, INFINITE = float("nan"), float("inf")


def table(kinds: Features | None = None, **columns: list[Any]) -> DatasetDict:
    return DatasetDict(train=Dataset.from_dict(columns, features=kinds))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 40], [1, 2, 40]),
        ([0.5, -1.5, 1e6], [0.5, -1.5, 1e6]),
        (["1.5", " 2 ", "-3e2"], [1.5, 2, -300]),
    ],
)
def test_numbers_are_targets(values: list[Any], expected: list[float]) -> None:
    targets = read_targets(table(age=values), ["age"], "regression")
    assert (
        targets.values.dtype == np.float32
        and targets.values.tolist() == expected
        and targets.names == ["age"]
    )


ODD = [
    ([1.0, None], r"Column 'y' holds None \(row 1 \(from 0\) of the split train\), which is no label"),
    ([1.0, NAN], r"Column 'y' holds nan \(row 1 .*which is no label\. Leave such rows out"),
    ([1.0, INFINITE], r"holds inf \(row 1 .*which is no finite number"),
    ([1e300, 1.0], r"holds 1e\+300 \(row 0 .*which is no finite number of 32 bits"),
    (["1", "old"], r"holds 'old' \(row 1 .*which is no number\. Correct it"),
    (["1", "1_000"], r"holds '1_000' \(row 1 "),
    (["1", ""], r"holds '' \(row 1 .*no label"),
    (["1", "NA"], r"holds 'NA' \(row 1 .*no label"),
    ([True, False], r"holds True \(row 0 .*which is no number"),
    ([[1.0], [2.0]], r"holds \[1\.0\] \(row 0 .*which is no number"),
]


@pytest.mark.parametrize(("values", "message"), ODD)
def test_what_is_no_number_is_named(values: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_targets(table(y=values), ["y"], "regression")


def test_names_of_classes_are_no_numbers() -> None:
    kinds = Features({"y": ClassLabel(names=["cat", "dog"])})
    with pytest.raises(ValueError, match=r"Column 'y' holds 'dog' \(row 0 .*which is no number"):
        read_targets(table(kinds, y=[1, 0]), ["y"], "regression")


def test_columns_of_yes_and_no_are_labels() -> None:
    kinds = Features(
        {"edema": Value("int64"), "nodule": Value("bool"), "mass": Value("float64"), "fever": Value("string")}
        | {"cough": ClassLabel(names=["True", "False"])}
    )
    data = table(
        kinds, edema=[0, 1], nodule=[True, False], mass=[1.0, 0.0], fever=["false", "True"], cough=[0, 1]
    )
    targets = read_targets(data, list(kinds), "multi_label")
    assert targets.values.tolist() == [[0, 1, 1, 0, 1], [1, 0, 0, 1, 0]] and targets.names == list(kinds)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 2], r"Column 'b' holds 2 \(row 1 .*which is neither 0 nor 1"),
        ([0, None], r"holds None \(row 1 .*which is no label"),
        (["no", "yes"], r"holds 'no' \(row 0 .*which is neither"),
        ([[0], [1]], r"holds \[0\] \(row 0 .*which is neither"),
    ],
)
def test_other_cells_of_several_columns_are_named(values: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_targets(table(a=[0, 1], b=values), ["a", "b"], "multi_label")


def test_lists_of_names_are_labels_in_every_split() -> None:
    data = DatasetDict(
        train=Dataset.from_dict({"found": [["nodule"], [], ["edema", "nodule", "nodule"]]}),
        test=Dataset.from_dict({"found": [["mass"]]}),
    )
    targets = read_targets(data, ["found"], "multi_label")
    assert targets.names == ["edema", "mass", "nodule"] and targets.listed
    assert targets.values.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_lists_of_ids_go_by_their_names() -> None:
    """The splits number them in other orders."""
    orders = [["a", "b", "c"], ["c", "a", "b"]]
    parts = [
        Dataset.from_dict({"y": [[0, 2], []]}, features=Features({"y": List(ClassLabel(names=names))}))
        for names in orders
    ]
    targets = read_targets(DatasetDict(train=parts[0], test=parts[1]), ["y"], "multi_label")
    assert targets.names == ["a", "b", "c"]
    assert targets.values.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_lists_of_zeros_and_ones_are_labels_by_position() -> None:
    targets = read_targets(table(y=[[0, 1], [1, 1]]), ["y"], "multi_label")
    assert targets.values.tolist() == [[0, 1], [1, 1]] and targets.names == ["0", "1"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0, 1], [1]], r"holds \[1\] \(row 1 .*which is no list of 2 numbers"),
        ([[0, 1], [3, 0]], r"holds \[3, 0\] \(row 1 .*Lists of ids need their names"),
        ([["a"], None], r"holds None \(row 1 .*which is no list of labels"),
        ([["a"], [None]], r"holds \[None\] \(row 1 "),
        ([[], []], "all empty: there is no label"),
        ([0, 1], "holds one label a row: name several columns of 0 and 1, or one of lists"),
    ],
)
def test_other_lists_are_named(values: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_targets(table(y=values), ["y"], "multi_label")


@pytest.mark.parametrize(
    ("columns", "task", "message"),
    [
        (
            ["y", "z"],
            "classification",
            r"2 label columns \(y, z\), and a classification has one.*task multi_label",
        ),
        (["y", "z"], "regression", "and a regression has one"),
        (["lists"], "classification", "Column 'lists' holds lists, .*task multi_label"),
        (["y"], "regresion", "Unknown task 'regresion'. Did you mean 'regression'"),
        (["yy"], "regression", "Unknown label column 'yy'. Did you mean 'y'"),
    ],
)
def test_what_does_not_go_together_is_named(columns: list[str], task: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_targets(table(y=[0, 1], z=[1, 0], lists=[[0], [1]]), columns, task)


def test_a_column_of_measurements_names_the_task() -> None:
    data = table(age=[number / 3 for number in range(60)], environment=["a", "b"] * 30)
    with pytest.raises(ValueError, match=r"holds 60 different values.*--task regression"):
        environment_datasets(data, Columns(label="age"), Protocol(test_environments=["b"]))


def test_labels_are_matched_by_name_to_a_models() -> None:
    def found(targets: Targets, names: list[str]) -> tuple[list[list[float]], str]:
        values, how = in_order_of(targets, names, "the model")
        return values.tolist(), how

    rows = Targets(np.array([[1, 0], [0, 1]], np.float32), ["b", "a"])
    assert found(rows, ["a", "b"]) == ([[0, 1], [1, 0]], "by name")
    with pytest.raises(
        ValueError, match="The dataset has the labels b, a, the model c too: name the columns"
    ):
        found(rows, ["a", "b", "c"])
    with pytest.raises(ValueError, match="The labels of the dataset are not those of the model"):
        found(rows, ["a", "x"])
    listed = Targets(rows.values, rows.names, listed=True)  # no row lists c
    assert found(listed, ["a", "b", "c"]) == ([[0, 1, 0], [1, 0, 0]], "by name")
    assert found(Targets(rows.values, ["0", "1"]), ["a", "b"]) == (rows.values.tolist(), "by id")


def test_a_dataset_knows_its_task() -> None:
    where, inputs = torch.tensor([0, 1]), torch.rand(2, 3)
    kinds = {
        "classification": torch.tensor([0, 1]),
        "regression": torch.tensor([0.5, 2.0]),
        "multi_label": torch.tensor([[0, 1], [1, 1]]),
    }
    for task, labels in kinds.items():
        data = EnvironmentDataset(inputs, labels, where, ["p", "q"], ["a", "b"])
        assert data.task == task == task_of(data.labels)
        if task != "classification":
            with pytest.raises(ValueError, match=f"a {task} has no classes: go by environments"):
                data.group_counts()
    with pytest.raises(ValueError, match="0 or 1 each, found 0 to 3"):
        EnvironmentDataset(inputs, torch.tensor([[0, 3], [1, 1]]), where, ["p", "q"], ["a", "b"])
    with pytest.raises(ValueError, match=r"Labels are \[N, 2\] for 1 names"):
        EnvironmentDataset(inputs, kinds["multi_label"], where, ["p"], ["a", "b"])
