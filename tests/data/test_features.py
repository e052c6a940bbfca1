"""Columns as vectors: what is standardised, filled in, refused and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from hf_ood.data import Columns, Protocol, environment_datasets
from hf_ood.data.features import FEATURES_FILE, FeatureProcessor, feature_vectors
from hf_ood.data.reading import read_dataset

ROWS: dict[str, list[Any]] = {
    "age": [20, 40, 60, 90],
    "sex": ["f", "m", "f", "x"],
    "smoker": [True, False, True, False],
    "signal": [[0.0, 1.0], [2.0, 1.0], [4.0, 1.0], [0.5, 3.0]],
    "grade": [0, 1, 1, 0],
    "label": ["ill", "well", "ill", "well"],
    "environment": ["A", "B", "A", "C"],
}
COLUMNS = ["age", "sex", "smoker", "signal", "grade"]
TRAIN = np.array([0, 1, 2])


def table(**changes: list[Any]) -> DatasetDict:
    rows = Dataset.from_dict({**ROWS, **changes})
    return DatasetDict(train=rows.cast_column("grade", ClassLabel(names=["low", "high"])))


def test_numbers_are_standardised_on_the_training_rows_and_categories_one_hot() -> None:
    processor, vectors = feature_vectors(table(), COLUMNS, TRAIN)
    assert vectors.shape == (4, 3 + 2 + 2 + 2) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[TRAIN, :3].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(vectors[:, 0], (np.array(ROWS["age"]) - 40) / np.std([20, 40, 60]), rtol=1e-6)
    np.testing.assert_allclose(vectors[:, 2], [0, 0, 0, 2])  # a constant has the scale 1
    assert vectors[:, 3:].tolist() == [
        [1, 0, 0, 1, 0, 1],
        [0, 1, 1, 0, 1, 0],
        [1, 0, 0, 1, 1, 0],
        [0, 0, 1, 0, 0, 1],
    ]
    assert processor.categories == {"sex": ["f", "m"], "smoker": ["False", "True"], "grade": ["high", "low"]}


def test_numbers_and_categories_are_told_apart_in_words() -> None:
    lines: list[str] = []
    environment_datasets(table(), Columns(features=COLUMNS), Protocol(["A"], ["C"], ["B"]), tell=lines.append)
    assert lines[-1] == (
        "features: numbers age, signal (2 each); categories sex (f); smoker (True); grade (high, low); "
        "vectors of 7"
    )


def test_a_stored_infinity_and_a_written_one_are_refused_alike(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("age\n1\ninf\n2_0\n")
    written = read_dataset(str(tmp_path / "t.csv"))
    stored = Dataset.from_dict({"age": [1.0, float("-inf"), None]})
    processor = FeatureProcessor(["age"], {"age": None}, {}, [0.0], [1.0])
    with pytest.raises(ValueError, match=r"'age' holds -inf in row 1 .*, which is no finite number"):
        processor.vectors(stored)
    with pytest.raises(
        ValueError, match=r"'age' holds 'inf' in row 2 of t.csv .*, which is no finite number"
    ):
        processor.vectors(written["train"])
    with pytest.raises(ValueError, match="'age' holds '2_0'"):
        processor.vectors(written["train"].select([0, 2]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [1.0]}, "mean must hold a finite value for each of 3 numbers"),
        ({"scale": [1.0, 1.0, None]}, "cannot be read"),
        ({"columns": ["age"]}, "must be the columns"),
        ({"categories": 7}, "cannot be read"),
        ({"categories": {"sex": [], "smoker": ["a"], "grade": ["b"]}}, "must have some"),
        ({"median": [0.0, 0.0, 0.0]}, "beside median"),
        ({"other": 1}, "cannot be read"),
    ],
)
def test_a_file_that_is_no_processor_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    feature_vectors(table(), COLUMNS, TRAIN)[0].save_pretrained(tmp_path)
    file = tmp_path / FEATURES_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        FeatureProcessor.from_pretrained(tmp_path)


def test_a_category_that_no_training_row_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("hf_ood.data.features.logger.warning", said.append)
    feature_vectors(table(), COLUMNS, TRAIN)
    (line,) = said
    assert "'sex'" in line and "'x' (1 rows)" in line and "none of f, m" in line


@pytest.mark.parametrize("impute", [False, True])
def test_it_is_saved_as_json_and_gives_the_same_vectors(impute: bool, tmp_path: Path) -> None:
    data = table(age=[20.5, None, 61.25, 90], sex=["f", "m", None, ""]) if impute else table()
    processor, vectors = feature_vectors(data, COLUMNS, TRAIN, impute)
    processor.save_pretrained(tmp_path)
    assert json.loads((tmp_path / FEATURES_FILE).read_text())["columns"] == COLUMNS
    again = FeatureProcessor.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.vectors(data["train"]), vectors)
    np.testing.assert_array_equal(again.vectors(data["train"].select([2])), vectors[2:3])
    assert again == processor


def test_missing_values_are_the_training_rows_median_and_most_frequent(tmp_path: Path) -> None:
    data = table(
        age=[20, None, 60, None], sex=["f", "f", "m", None], signal=[[0, 1], [2, None], [4, 3], None]
    )
    _, vectors = feature_vectors(data, ["age", "sex", "signal"], TRAIN, impute=True)
    assert vectors[1, 0] == vectors[3, 0] == 0  # 40, the mean too
    assert vectors[3, 1] == vectors[1, 1] == 0  # 2
    assert vectors[3, 3:].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"age": [20, None, 60, 90]}, r"'age' has no value in 1 of 4 rows \(row 1 \(from 0\).*--impute"),
        ({"age": [20, float("nan"), 60, 90]}, "'age' has no value in 1 of 4 rows"),
        ({"age": [20, 40, float("inf"), 90]}, r"'age' holds inf in row 2 \(from 0\) of the split train"),
        ({"sex": ["f", "NA", "f", "f"]}, "'sex' has no value in 1 of 4 rows"),
        ({"signal": [[1.0], [1.0], [1.0, 2.0], [1.0]]}, "lists of 1 numbers, and 2 numbers in row 2"),
        ({"signal": [["a"], ["b"], ["c"], ["d"]]}, "'signal' holds List.*a feature is a number"),
        ({"sex": [{"a": 1}] * 4}, "'sex' holds"),
        ({"age": [1, 2, 3, 1e300]}, "'age' holds 1e\\+300 in row 3"),
        ({"age": [None] * 4}, "'age' has no value in any row"),
    ],
)
def test_what_is_no_feature_is_refused_with_its_row(changes: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        feature_vectors(table(**changes), COLUMNS, TRAIN)


def test_infinities_are_never_filled_in() -> None:
    with pytest.raises(ValueError, match="'age' holds inf"):
        feature_vectors(table(age=[20, 40, float("inf"), 90]), COLUMNS, TRAIN, impute=True)


def test_a_column_without_a_value_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="'age' has no value in any training row"):
        feature_vectors(table(age=[None, None, None, 90]), COLUMNS, TRAIN, impute=True)


def test_a_slip_among_numbers_and_texts_that_are_no_categories_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("age,name\n" + "".join(f"{'4o' if n == 7 else n},name {n}\n" for n in range(40)))
    data = read_dataset(str(file))
    with pytest.raises(ValueError, match=r"'age' holds numbers, and '4o' in row 8 of t.csv \(line 9\)"):
        feature_vectors(data, ["age"], np.arange(40))
    with pytest.raises(ValueError, match="'name' holds 40 different texts in 40 rows"):
        feature_vectors(data, ["name"], np.arange(40))


def test_class_labels_of_splits_are_matched_by_name() -> None:
    parts = {}
    for split, names in (("train", ["cat", "dog"]), ("test", ["dog", "cat"])):
        features = Features({"kind": ClassLabel(names=names), "n": List(Value("int64"))})
        parts[split] = Dataset.from_dict({"kind": ["cat", "dog"], "n": [[1], [2]]}, features=features)
    _, vectors = feature_vectors(DatasetDict(parts), ["kind", "n"], np.array([0, 1]))
    np.testing.assert_array_equal(vectors[:2], vectors[2:])


def test_the_rows_of_environments_that_are_held_out_change_nothing() -> None:
    found = [
        environment_datasets(
            table(age=[20, 40, 60, last]), Columns(features=COLUMNS), Protocol(["A"], ["C"], ["B"])
        )["train"]
        for last in (90, 9000)
    ]
    assert found[0].processor == found[1].processor and len(found[0]) == 2
    assert found[0].columns["inputs"].equal(found[1].columns["inputs"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(features=["age", "label"]), "'label' is the label"),
        (Columns(features=["age", "age"]), "Name each feature column once"),
        (Columns(features=["aeg"]), "Did you mean 'age'"),
        (Columns(features=["age"], text=["sex"]), "name one of these"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns: Columns, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        environment_datasets(table(), columns, Protocol(test_environments=["C"]))


def test_a_processor_that_is_given_keeps_its_categories() -> None:
    processor, vectors = feature_vectors(table(), COLUMNS, TRAIN)
    other, again = feature_vectors(table(), COLUMNS, np.array([3]), processor=processor)
    assert other is processor and np.array_equal(again, vectors)
    with pytest.raises(ValueError, match="leave --impute out"):
        feature_vectors(table(), COLUMNS, TRAIN, impute=True, processor=processor)
    with pytest.raises(ValueError, match="The processor reads the columns age, sex"):
        feature_vectors(table(), ["age"], TRAIN, processor=processor)
