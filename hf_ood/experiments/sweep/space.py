"""What a sweep varies: every option of a method, and of training, that has a `search` space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...methods.registry import METHODS, method_parts
from ...options import Search
from ...runs.settings import Settings
from ...trainer import OODConfig

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def search_space(method: str, fixed: Settings | None = None) -> dict[str, tuple[Search, Any]]:
    """`{"learning_rate": (space, default), "irm.penalty_weight": ...}` for a method such as `irm+rsc`:
    every option that `fixed` leaves open.
    """
    fixed = fixed or {}
    owners = {"": OODConfig} | {part: METHODS[part] for part in method_parts(method)}
    spaces: dict[str, tuple[Search, Any]] = {}
    for section, owner in owners.items():
        for field in fields(owner):
            if "search" not in field.metadata or field.name in (fixed.get(section, {}) if section else fixed):
                continue
            name = f"{section}.{field.name}" if section else field.name
            spaces[name] = (field.metadata["search"], field.default)
    return spaces


def suggest(trial: BaseTrial, method: str, fixed: Settings) -> dict[str, Any]:
    """Values from the trial for every option that `fixed` leaves open; whole numbers for whole numbers."""
    values: dict[str, Any] = {}
    for name, (space, default) in search_space(method, fixed).items():
        if isinstance(default, int):
            values[name] = trial.suggest_int(name, round(space.low), round(space.high), log=space.log)
        else:
            values[name] = trial.suggest_float(name, space.low, space.high, log=space.log)
    return values


def space_table(methods: Sequence[str], fixed: Settings) -> pd.DataFrame:
    """Where a sweep of these methods looks: a row for each option, and whose range it is."""
    spaces = {name: space for method in methods for name, (space, _) in search_space(method, fixed).items()}
    rows = {
        name: [f"{space.low:.4g}", f"{space.high:.4g}", "logarithm" if space.log else "even", space.source]
        for name, space in spaces.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["from", "to", "spread", "source"])


def as_settings(values: dict[str, Any]) -> Settings:
    """`{"irm.penalty_weight": 1.0}` -> `{"irm": {"penalty_weight": 1.0}}`: flags as a recipe has them."""
    settings: Settings = {}
    for name, value in values.items():
        section, _, option = name.rpartition(".")
        (settings.setdefault(section, {}) if section else settings)[option] = value
    return settings
