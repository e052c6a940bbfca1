"""What a sweep varies: every option of a method, and of training, that has a `search` space."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from optuna import Trial

from ..options import Search
from ..studies.study import Settings
from ..trainer import OODConfig
from ..trainer.methods import METHODS, method_parts


def search_space(method: str) -> dict[str, tuple[Search, Any]]:
    """`{"learning_rate": (space, default), "irm.penalty_weight": ...}` for a method such as `irm+rsc`."""
    owners = {"": OODConfig} | {f"{part}.": METHODS[part] for part in method_parts(method)}
    return {
        f"{prefix}{field.name}": (field.metadata["search"], field.default)
        for prefix, owner in owners.items()
        for field in fields(owner)
        if "search" in field.metadata
    }


def suggest(trial: Trial, method: str, fixed: Settings) -> dict[str, Any]:
    """Values from the trial for every option that `fixed` leaves open.

    Where `fixed` has `max_steps`, options that count steps stay below it: a penalty that never acts is no
    candidate.
    """
    values: dict[str, Any] = {}
    for name, (space, default) in search_space(method).items():
        section, _, option = name.rpartition(".")
        if option in (fixed.get(section, {}) if section else fixed):
            continue
        high = space.high
        if option.endswith("_steps") and "max_steps" in fixed:
            high = max(space.low, min(high, fixed["max_steps"]))
        if isinstance(default, int):
            values[name] = trial.suggest_int(name, round(space.low), round(high), log=space.log)
        else:
            values[name] = trial.suggest_float(name, space.low, high, log=space.log)
    return values


def as_settings(values: dict[str, Any]) -> Settings:
    """`{"irm.penalty_weight": 1.0}` -> `{"irm": {"penalty_weight": 1.0}}`: flags as a recipe has them."""
    settings: Settings = {}
    for name, value in values.items():
        section, _, option = name.rpartition(".")
        (settings.setdefault(section, {}) if section else settings)[option] = value
    return settings
