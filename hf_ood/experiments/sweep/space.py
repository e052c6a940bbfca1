"""What a sweep varies: every option of a method, of the loss and of training that has a `search`
space."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from ...methods.losses import LOSSES
from ...methods.losses.by_name import NAME, check_loss_options
from ...methods.registry import METHODS, method_parts
from ...options import Search
from ...runs.sections import LOSS
from ...runs.settings import Settings, canonical
from ...trainer import OODConfig

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


Space: TypeAlias = dict[str, tuple[Search, Any]]
BATCH_SIZE = "per_device_train_batch_size"


def search_space(method: str, fixed: Settings | None = None, rows: int | None = None) -> Space:
    """`{"learning_rate": (space, default), "irm.penalty_weight": ...}` for a method such as `irm+rsc`:
    every option that `fixed` leaves open, and of the loss that `fixed` names (`loss.gamma`). `rows`: of the
    smallest training set, which a batch cannot exceed.
    """
    fixed = canonical(fixed or {})
    owners: dict[str, type[Any]] = {"": OODConfig} | {part: METHODS[part] for part in method_parts(method)}
    if NAME in fixed.get(LOSS, {}):  # class weights alone name none
        check_loss_options(fixed[LOSS][NAME], [])
        owners[LOSS] = LOSSES[fixed[LOSS][NAME]]
    spaces: Space = {}
    for section, owner in owners.items():
        given = fixed.get(section, {}) if section else fixed
        for field in fields(owner):
            search: Search | None = field.metadata.get("search")
            if search is None or field.name in given or not _acts(search, given):
                continue
            spaces[f"{section}.{field.name}" if section else field.name] = (search, field.default)
    if rows is not None and BATCH_SIZE in spaces:
        batch, default = spaces[BATCH_SIZE]
        high = min(round(batch.high), rows)
        spaces[BATCH_SIZE] = (replace(batch, low=min(batch.low, high), high=high), min(default, high))
    return spaces


def _acts(search: Search, given: Settings) -> bool:
    """Whether an option has an effect beside those that are given."""
    return search.only_with is None or given.get(search.only_with[0]) == search.only_with[1]


def defaults(space: Space) -> dict[str, Any]:
    """The values of a sweep's first trial."""
    return {name: default for name, (_, default) in space.items()}


def suggest(trial: BaseTrial, space: Space) -> dict[str, Any]:
    """Values from the trial for every option of the space; whole numbers for whole numbers."""
    values: dict[str, Any] = {}
    for name, (search, default) in space.items():
        if isinstance(default, int):
            values[name] = trial.suggest_int(name, round(search.low), round(search.high), log=search.log)
        else:
            values[name] = trial.suggest_float(name, search.low, search.high, log=search.log)
    return values


def space_table(spaces: Iterable[Space]) -> pd.DataFrame:
    """Where a sweep of methods with these spaces looks: a row for each option, and whose range it is."""
    rows = {
        name: [f"{one.low:.4g}", f"{one.high:.4g}", "logarithm" if one.log else "even", one.source]
        for space in spaces
        for name, (one, _) in space.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["from", "to", "spread", "source"])


def as_settings(values: dict[str, Any]) -> Settings:
    """`{"irm.penalty_weight": 1.0}` -> `{"irm": {"penalty_weight": 1.0}}`: flags as a recipe has them."""
    settings: Settings = {}
    for name, value in values.items():
        section, _, option = name.rpartition(".")
        (settings.setdefault(section, {}) if section else settings)[option] = value
    return settings
