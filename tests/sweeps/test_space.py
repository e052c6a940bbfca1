"""What a sweep varies."""

from __future__ import annotations

import optuna
import pytest

from hf_ood.sweeps.space import as_settings, search_space, suggest
from hf_ood.trainer.methods import METHODS


@pytest.mark.parametrize("method", METHODS)
def test_the_default_lies_in_the_space(method: str) -> None:
    space = search_space(method)
    assert {"learning_rate", "per_device_train_batch_size"} <= set(space)
    for name, (search, default) in space.items():
        assert search.low <= default <= search.high, name


def test_both_parts_of_a_method_are_varied_unless_fixed() -> None:
    trial = optuna.create_study().ask()
    fixed = {"learning_rate": 0.001, "irm": {"penalty_weight": 1.0}, "max_steps": 30}
    values = suggest(trial, "irm+rsc", fixed)
    assert set(values) == {
        "per_device_train_batch_size", "irm.warmup_steps", "rsc.drop_rate", "rsc.batch_share"
    }  # fmt: skip
    assert 1 <= values["irm.warmup_steps"] <= 30
    assert isinstance(values["irm.warmup_steps"], int)
    assert as_settings({"seed": 1, "irm.l2": 2.0, "irm.x": 3}) == {"seed": 1, "irm": {"l2": 2.0, "x": 3}}
