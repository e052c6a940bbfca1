"""Inferred environments become the column that every method reads."""

from __future__ import annotations

import pytest
import torch
from conftest import make_dataset
from datasets import ClassLabel, Dataset, DatasetDict

from hf_ood.discovery import replace_environments, write_environments


def rows(environments: list[int], names: list[str]) -> Dataset:
    data = Dataset.from_dict({"label": [0] * len(environments), "environment": environments})
    return data.cast_column("environment", ClassLabel(names=names))


def told(data: Dataset) -> list[str]:
    return data.features["environment"].int2str(data["environment"][:])


def test_the_training_split_gets_them_and_the_others_keep_theirs() -> None:
    data = DatasetDict(
        train=rows([0, 0, 0], ["a"]), validation=rows([0, 1], ["b", "a"]), test=rows([0], ["c"])
    )
    written = write_environments(data, torch.tensor([1, 0, 1]))
    assert told(written["train"]) == ["inferred_1", "inferred_0", "inferred_1"]
    assert (told(written["validation"]), told(written["test"])) == (["b", "a"], ["c"])
    names = [split.features["environment"].names for split in written.values()]
    assert names == [["b", "a", "c", "inferred_0", "inferred_1"]] * 3
    assert told(data["train"]) == ["a", "a", "a"]


def test_a_single_split_and_one_without_environments() -> None:
    assert told(write_environments(rows([0, 0], ["a"]), torch.tensor([0, 1]))) == ["inferred_0", "inferred_1"]
    bare = Dataset.from_dict({"label": [0, 1]})
    assert told(write_environments(bare, torch.tensor([1, 0]))) == ["inferred_1", "inferred_0"]


def test_rows_and_splits_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="3 environments were inferred, but the data set has 2 rows"):
        write_environments(rows([0, 0], ["a"]), torch.tensor([0, 1, 1]))
    with pytest.raises(ValueError, match="no split 'train' among test"):
        write_environments(DatasetDict(test=rows([0], ["a"])), torch.tensor([0]))


def test_data_sets_in_memory_share_one_list_of_names() -> None:
    data = make_dataset((4, 4))
    inferred = torch.arange(8) % 2
    replaced = replace_environments({"train": data, "test": data}, inferred, number=2)
    assert replaced["train"].environment_names == replaced["test"].environment_names
    assert replaced["train"].environment_counts() == {"inferred_0": 4, "inferred_1": 4}
    assert torch.equal(replaced["train"].environments, inferred + 2)
    assert replaced["test"].environment_counts() == data.environment_counts()
