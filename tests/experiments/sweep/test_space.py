"""What a sweep varies."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial

from hf_ood import OODConfig
from hf_ood.experiments.sweep.plan import Plan
from hf_ood.experiments.sweep.space import as_settings, search_space, space_table, suggest
from hf_ood.methods.losses import LOSSES
from hf_ood.methods.losses.by_name import build_loss
from hf_ood.methods.objectives import Objective
from hf_ood.methods.registry import METHODS, build_method

NOTHING_TO_TUNE = {"erm"}  # no number of their own; a new method whose numbers matter does not belong here


@pytest.mark.parametrize("method", METHODS)
def test_the_default_lies_in_the_space(method: str) -> None:
    space = search_space(method)
    assert {"learning_rate", "per_device_train_batch_size"} <= set(space)
    for name, (search, default) in space.items():
        assert search.low <= default <= search.high, name
        assert search.source and (search.low > 0 or not search.log), name


@pytest.mark.parametrize("method", METHODS)
def test_a_method_with_numbers_of_its_own_has_a_space_for_them(method: str) -> None:
    common = {field.name for field in fields(Objective)}
    numbers = {
        field.name
        for field in fields(METHODS[method])
        if field.init and field.name not in common and type(field.default) in (int, float)
    }
    searched = {name.partition(".")[2] for name in search_space(method) if name.startswith(f"{method}.")}
    assert searched <= numbers
    assert bool(searched) == (method not in NOTHING_TO_TUNE) == bool(numbers)


@pytest.mark.parametrize("method", METHODS)
def test_every_value_is_one_that_the_method_takes_and_whole_where_the_default_is(method: str) -> None:
    space = search_space(method)
    ends = [{name: getattr(search, end) for name, (search, _) in space.items()} for end in ("low", "high")]
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    for trial in (FixedTrial(ends[0]), FixedTrial(ends[1]), study.ask(), study.ask()):
        values = suggest(trial, space)
        assert {name: type(value) for name, value in values.items()} == {
            name: type(default) for name, (_, default) in space.items()
        }
        settings = as_settings(values)
        build_method(method, {method: settings.get(method, {})})


def test_both_parts_of_a_method_are_varied_unless_fixed() -> None:
    trial = optuna.create_study().ask()
    fixed = {"learning_rate": 0.001, "irm": {"penalty_weight": 1.0}, "max_steps": 30}
    values = suggest(trial, search_space("irm+rsc", fixed))
    assert set(values) == {
        "per_device_train_batch_size", "irm.warmup_steps", "rsc.drop_rate", "rsc.batch_share"
    }  # fmt: skip
    assert 0.0002 <= values["irm.warmup_steps"] <= 0.9  # a share of any number of steps
    assert as_settings({"seed": 1, "irm.l2": 2.0, "irm.x": 3}) == {"seed": 1, "irm": {"l2": 2.0, "x": 3}}
    table = space_table(search_space(method, fixed) for method in ("erm", "irm+rsc"))
    assert set(table.index) == set(values)
    source = "DomainBed: 1 to 10,000 of 5,000 steps"
    assert table.loc["irm.warmup_steps"].tolist() == ["0.0002", "0.9", "logarithm", source]


def test_no_batch_is_larger_than_the_smallest_training_set() -> None:
    plan = Plan({}, {"north": 40, "east": 100, "west": 60}, {"east": ["east"], "north": ["north"]})
    batch, default = plan.space("erm")["per_device_train_batch_size"]
    assert (batch.low, batch.high) == (24, 100)  # without east
    assert plan.space("irm")["irm.penalty_weight"] == search_space("irm")["irm.penalty_weight"]
    fewer = Plan({"max_train_samples": 16}, plan.environments, plan.held_out)
    assert fewer.space("erm")["per_device_train_batch_size"][0].high == 16
    assert default == 100 < OODConfig.per_device_train_batch_size


def test_the_options_of_a_loss_are_varied_where_it_is_named() -> None:
    def of_the_loss(settings: dict[str, Any]) -> set[str]:
        return {name for name in search_space("erm", settings) if name.startswith("loss.")}

    assert of_the_loss({}) == of_the_loss({"class_weights": "balanced"}) == set()
    assert of_the_loss({"loss": "focal"}) == of_the_loss({"loss": {"name": "focal"}}) == {"loss.gamma"}
    assert of_the_loss({"loss": {"name": "focal", "gamma": 1.0}}) == set()
    weighted = {"name": "ldam", "class_weights": "effective"}
    assert of_the_loss({"loss": weighted}) == {"loss.max_margin", "loss.scale", "loss.effective_beta"}
    with pytest.raises(ValueError, match="focl"):
        search_space("erm", {"loss": "focl"})


def test_every_value_is_one_that_the_loss_takes() -> None:
    for name in LOSSES:
        space = search_space(
            "erm", {"loss": name, "class_weights": "effective"} if name == "ldam" else {"loss": name}
        )
        for end in ("low", "high"):
            values = as_settings({key: getattr(search, end) for key, (search, _) in space.items()})
            build_loss({"name": name, **values.get("loss", {})})


def test_a_trial_keeps_the_loss_that_the_sweep_names() -> None:
    plan = Plan({"loss": "focal"}, {"north": 40, "east": 100}, {"east": ["east"]})
    assert "loss.gamma" in plan.space("erm")
    run = plan.without("erm", {"loss.gamma": 3.0}, {"east"}, seed=0)
    assert run.settings["loss"] == {"name": "focal", "gamma": 3.0}
