"""Splits get one list of names, by name."""

from __future__ import annotations

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from hf_ood.data.common_names import with_common_names


def split(names: list[str], ids: list[int | None], **columns: list) -> Dataset:
    features = Features({"label": ClassLabel(names=names), **{name: Value("string") for name in columns}})
    return Dataset.from_dict({"label": ids, **columns}, features=features)


def words(data: Dataset) -> list[str | int | None]:
    names = data.features["label"].names
    return [names[i] if i is not None and i >= 0 else i for i in data["label"]]


def test_ids_follow_their_names() -> None:
    given = DatasetDict(
        train=split(["cat", "dog"], [0, 1, 0, None]),
        test=split(["eel", "dog", "cat"], [0, 1, 2, -1]),
    )
    found = with_common_names(given)
    assert all(data.features["label"].names == ["cat", "dog", "eel"] for data in found.values())
    assert words(found["train"]) == ["cat", "dog", "cat", None] == words(given["train"])
    assert words(found["test"]) == ["eel", "dog", "cat", -1] == words(given["test"])


def test_splits_that_agree_stay_and_columns_get_one_order() -> None:
    one = split(["a", "b"], [0, 1], text=["x", "y"])
    other = one.select_columns(["text", "label"])
    found = with_common_names(DatasetDict(train=one, test=other))
    assert found["test"].column_names == ["label", "text"] and found["test"][:] == one[:]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (split(["a", "b"], [0]), "Split test has no column 'text', which split train"),
        (
            split(["a", "b"], [0], text=["x"], more=["y"]),
            "Split train has no column 'more', which split test",
        ),
        (
            split(["a", "b"], [0], text=["x"]).cast_column("label", Value("int64")),
            "split test, column 'label'",
        ),
        (split(["A ", "b"], [0], text=["x"]), "'A ' and 'a', of the splits before it, differ only in case"),
    ],
)
def test_other_differences_are_refused(other: Dataset, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_common_names(DatasetDict(train=split(["a", "b"], [0], text=["x"]), test=other))
