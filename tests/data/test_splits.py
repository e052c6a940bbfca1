"""Who trains, who chooses, who tests."""

from __future__ import annotations

import numpy as np
import pytest

from hf_ood.data.splits import Protocol, divide

NAMES = ["a", "b", "c", "d"]
ONE_TABLE = np.arange(40) % 4


def shares(environments: np.ndarray, splits: dict[str, int], **protocol: object) -> dict[str, dict[str, int]]:
    """Rows of each environment in each role."""
    roles = divide(splits, environments, NAMES, Protocol(**protocol))  # type: ignore[arg-type]
    taken = np.concatenate(list(roles.values()))
    assert len(taken) == len(set(taken.tolist()))  # no row has two roles
    return {
        role: {NAMES[i]: int((environments[rows] == i).sum()) for i in np.unique(environments[rows])}
        for role, rows in roles.items()
    }


def test_a_whole_environment_is_held_out_and_a_fifth_of_each_other() -> None:
    assert shares(ONE_TABLE, {"train": 40}, test_environments=["c"]) == {
        "train": {"a": 8, "b": 8, "d": 8},
        "validation": {"a": 2, "b": 2, "d": 2},
        "test": {"c": 10},
    }


def test_whole_environments_choose() -> None:
    assert shares(ONE_TABLE, {"train": 40}, test_environments=["c"], validation=["d"]) == {
        "train": {"a": 10, "b": 10},
        "validation": {"d": 10},
        "test": {"c": 10},
    }


def test_what_is_not_trained_on_is_tested() -> None:
    assert shares(ONE_TABLE, {"train": 40}, train_environments=["a", "b"], validation=0.5) == {
        "train": {"a": 5, "b": 5},
        "validation": {"a": 5, "b": 5},
        "test": {"c": 10, "d": 10},
    }


# As WILDS divides: each split has environments of its own.
OWN = np.array([0] * 6 + [1] * 6 + [2] * 4 + [0] * 2 + [3] * 5)
OWN_SPLITS = {"train": 12, "validation": 6, "test": 5}


def test_the_splits_of_the_dataset_stay() -> None:
    assert shares(OWN, OWN_SPLITS) == {
        "train": {"a": 6, "b": 6},
        "validation": {"a": 2, "c": 4},
        "test": {"d": 5},
    }
    assert shares(OWN, OWN_SPLITS, train_environments=["b"]) == {
        "train": {"b": 5},
        "validation": {"b": 1},
        "test": {"d": 5},
    }


def test_held_out_environments_leave_the_training_splits() -> None:
    assert shares(OWN, OWN_SPLITS, test_environments=["a", "d"]) == {
        "train": {"b": 6},
        "validation": {"c": 4},
        "test": {"a": 8, "d": 5},
    }
    inside = np.array([0, 0, 1, 1, 0, 1, 1])  # a test split with both environments: only its rows test
    assert shares(inside, {"train": 4, "test": 3}, test_environments=["b"], validation=0.5) == {
        "train": {"a": 1},
        "validation": {"a": 1},
        "test": {"b": 2},
        "in_domain_test": {"a": 1},
    }


def test_only_test_rows_of_environments_that_are_trained_on_are_in_domain() -> None:
    environments = np.array([0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 2, 3])
    found = shares(
        environments,
        {"train": 8, "test": 4},
        train_environments=["a"],
        test_environments=["b"],
        validation=["c"],
    )
    assert found == {"train": {"a": 2}, "validation": {"c": 2}, "test": {"b": 1}, "in_domain_test": {"a": 1}}
    assert "in_domain_test" not in shares(environments, {"train": 8, "test": 4}, validation=0.5)


def test_the_share_is_random_and_repeatable() -> None:
    first, again, other = (
        divide({"train": 40}, ONE_TABLE, NAMES, Protocol(test_environments=["d"], seed=seed))["validation"]
        for seed in (0, 0, 1)
    )
    assert first.tolist() == again.tolist() != other.tolist()


def test_contradictions_are_refused() -> None:
    for protocol, message in (
        (Protocol(), "no test split .*a, b, c, d"),
        (Protocol(test_environments=["e"]), "Unknown test environment 'e'"),
        (Protocol(["a"], ["a"]), "'a' is asked for as train and as test"),
        (Protocol(None, ["a"], ["a"]), "'a' is asked for as validation and as test"),
        (Protocol(None, ["a"], 1.5), "share between 0 and 1"),
        (Protocol(None, NAMES), "No rows are left to train on"),
    ):
        with pytest.raises(ValueError, match=message):
            divide({"train": 40}, ONE_TABLE, NAMES, protocol)
