"""The runs of a bench: methods where environments are held out, and ERM on each environment itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers.trainer_utils import IntervalStrategy

from ...evaluation.leaderboard import BASELINE
from ...evaluation.selection import LeaveOneOut, Oracle, OwnEnvironment, Protocol, TrainingValidation
from ...methods.registry import METHODS, build_method, method_parts
from ...runs.data import validation_share
from ...runs.settings import canonical, merge, spec_from_settings
from ...runs.trainable import check_cacheable
from ...trainer.checks import check_averaging
from ..jobs import why_alone
from ..keyed_run import Run
from ..sweep.held_out import environments_in
from ..sweep.plan import Plan
from ..sweep.space import as_settings
from .configuration import COMBINATIONS, Configuration

FEWEST_FOR_FOLDS = 4  # of three, a run that leaves two out has one environment left, and nothing to compare


class OwnPlan(Plan):
    """Every environment trained on by itself and tested on its own test rows: what there is to win."""

    def runs(self, method: str, values: dict[str, Any], held_out: str, seed: int) -> dict[str | None, Run]:
        split = {
            "train_environments": list(self.held_out[held_out]),
            "test_environments": [name for name in self.environments if name not in self.held_out[held_out]],
        }
        settings = merge(self.settings, self.changes(method), as_settings(values), split)
        return {None: Run("bench", f"{method} on {held_out} itself", seed, settings, in_bulk=True)}


@dataclass(frozen=True)
class Bench:
    """A configuration with everything decided: `plan` and `own` say which runs there are, `methods` what is
    compared, `left_out` what is not and why."""

    configuration: Configuration
    budget: str
    methods: Sequence[str]
    left_out: Mapping[str, str]
    trials: int
    seeds: Sequence[int]
    plan: Plan
    own: OwnPlan

    @property
    def name(self) -> str:
        return self.configuration.name

    def trainings(self) -> int:
        """How many trainings there are in all."""
        each = sum(_splits(self.plan, method) for method in self.methods) + _splits(self.own, BASELINE)
        return each * self.trials * len(self.seeds)


def make_bench(
    configuration: Configuration,
    budget: str,
    methods: Sequence[str] | None,
    trials: int,
    seeds: Sequence[int],
    folds: bool,
) -> Bench:
    """Decide what is run. `methods`: None for all that go. `folds`: choose by leave-one-environment-out too,
    where there are environments enough.

    Raises `ValueError` for data that a bench cannot hold environments of out, and for an unknown method.
    """
    settings = configuration.with_budget(budget)
    spec = spec_from_settings(settings)
    if spec.data.validation is not None and validation_share(spec.data) is None:
        raise ValueError(
            f"{configuration.name}: a bench holds every environment out in turn, and validation names "
            f"{', '.join(spec.data.validation)}: give a share, such as 0.2, or leave it out."
        )
    environments, _ = environments_in(spec)
    if len(environments) < 3:
        raise ValueError(
            f"{configuration.name} has {len(environments)} training environments "
            f"({', '.join(environments)}): a bench needs three, one to hold out and two to compare."
        )
    settings = {name: value for name, value in settings.items() if name != "train_environments"}
    held_out = {name: [name] for name in environments}
    protocols: list[Protocol] = [TrainingValidation()]
    if folds and trials > 1 and len(environments) >= FEWEST_FOR_FOLDS:  # of one trial nothing is chosen
        protocols.append(LeaveOneOut())
    arms = {name: canonical(changes) for name, changes in configuration.section.arms.items()}
    plan = Plan(settings, environments, held_out, [*protocols, Oracle()], arms)
    own = OwnPlan(settings, environments, held_out, [OwnEnvironment()], arms)
    asked = list(
        dict.fromkeys([BASELINE, *(methods if methods is not None else [*METHODS, *COMBINATIONS, *arms])])
    )
    named = methods is not None
    left_out = {name: reason for name in asked if (reason := why_not(plan, name, one_by_one=named))}
    if BASELINE in left_out:
        raise ValueError(f"{configuration.name}: {left_out[BASELINE]}")
    going = [name for name in asked if name not in left_out]
    return Bench(configuration, budget, going, left_out, trials, seeds, plan, own)


def why_not(plan: Plan, method: str, one_by_one: bool) -> str | None:
    """Why a method cannot be trained on these data; None where it can. Raises `ValueError` for an unknown
    one.

    `one_by_one`: also heads that cannot be trained together with others, which takes a hundred times as long.
    """
    held_out = next(iter(plan.held_out))
    fewest = min(
        len(run.settings["train_environments"]) for run in plan.runs(method, {}, held_out, 0).values()
    )
    name = plan.changes(method)["method"]
    method_parts(name)
    run = plan.runs(method, {}, held_out, 0)[None]
    spec = spec_from_settings(run.settings)
    try:
        built = build_method(name, spec.options)
        least = built.objective.min_environments
        averaging = built.averaging
        if averaging is not None:
            check_averaging(averaging, spec.training.eval_strategy != IntervalStrategy.NO, sharded=False)
        if spec.network.cache_features:
            check_cacheable(spec)
    except ValueError as error:
        return str(error)
    if not one_by_one and spec.network.cache_features and (reason := why_alone(run)):
        return f"its heads are trained one by one, since {reason}: name it after --methods."
    if fewest < least:
        return f"{method} needs {least} training environments, and {run.arm} has {fewest}."
    return None


def _splits(plan: Plan, method: str) -> int:
    """How many different divisions of the environments one trial trains on."""
    return len({run.arm for held_out in plan.held_out for run in plan.runs(method, {}, held_out, 0).values()})
