"""From finished runs to what is kept: the choice of every protocol, what it is worth, what it cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ...data.splits import IN_DOMAIN
from ...evaluation.leaderboard import BASELINE, COLUMNS, OWN
from ...evaluation.results import versions
from ...evaluation.selection import tested_entries
from ...local_paths import without_local_paths
from ...runs.origin import commit
from ...runs.settings import plain
from ..keyed_run import data_fingerprint, read_run
from ..sweep.plan import Plan
from ..sweep.selection_table import candidates, chosen, cost
from ..sweep.space import space_table
from ..sweep.trials import VALUES, Trials
from .kept import Kept
from .plan import Bench


def collect(bench: Bench, trials: Trials, own_trials: Trials, root: Path) -> Kept | None:
    """What the runs of a bench say so far; None while no trial is complete. `own_trials`: of the
    environments themselves."""
    methods, seeds = list(bench.methods), bench.seeds
    table = _choices(bench.plan, methods, trials, bench.trials, seeds, root)
    own = _choices(bench.own, [BASELINE], own_trials, bench.trials, seeds, root)
    if table.empty:
        return None
    own = own.assign(method=OWN)
    costs = cost(bench.plan, methods, trials, seeds, root)
    reference = cost(bench.own, [BASELINE], own_trials, seeds, root).rename(index={BASELINE: OWN})
    spaces = space_table(map(bench.plan.space, methods)).rename_axis("option")
    about = {
        "title": bench.configuration.section.title,
        "note": bench.configuration.section.note,
        "environments": dict(bench.plan.environments),
        "trials": bench.trials,
        "seeds": list(bench.seeds),
        "left_out": dict(bench.left_out),
        "own_rows": _own_rows(bench, own_trials, root),
        "tested": _tested(bench, trials, root),
        "data_fingerprint": data_fingerprint(bench.plan.settings),
        "settings": without_local_paths(plain(bench.plan.settings)),
        "commit": commit(),
        "versions": versions(),
    }
    joined = pd.concat([table, own], ignore_index=True) if len(own) else table
    return Kept(bench.name, about, joined, pd.concat([costs, reference]), spaces)


def _choices(
    plan: Plan, methods: list[str], trials: Trials, wanted: int, seeds: Sequence[int], root: Path
) -> pd.DataFrame:
    """The lines of `COLUMNS`, one for each protocol, method, held-out environment and seed."""
    table = candidates(plan, methods, trials, seeds, root)
    table = table[table["trial"] < wanted]  # an earlier command may have tried more
    if table.empty:
        return pd.DataFrame(columns=COLUMNS)
    best = chosen(table)
    values = {
        (method, held_out, trial.number): trial.user_attrs[VALUES]
        for method in methods
        for held_out in plan.held_out
        for trial in trials.ended(method, held_out)
    }
    of_choice = [values[key] for key in zip(best["method"], best["held_out"], best["trial"], strict=True)]
    keys = [
        plan.runs(method, own, held_out, seed)[None].settings_key
        for method, own, held_out, seed in zip(
            best["method"], of_choice, best["held_out"], best["seed"], strict=True
        )
    ]
    texts = [json.dumps({name: _short(value) for name, value in own.items()}) for own in of_choice]
    return best.assign(values=texts, settings=keys)[COLUMNS]


def _tested(bench: Bench, trials: Trials, root: Path) -> dict[str, int]:
    """How many rows of each held-out environment are tested."""
    found = {}
    for name, environments in bench.plan.held_out.items():
        for trial in trials.ended(BASELINE, name):
            results = read_run(
                bench.plan.runs(BASELINE, trial.user_attrs[VALUES], name, bench.seeds[0])[None], root
            )
            if results is not None:
                found[name] = sum(each["count"] for each in tested_entries(results, environments).values())
                break
    return found


def _own_rows(bench: Bench, trials: Trials, root: Path) -> str:
    """Which rows of an environment those trained on itself are tested on: `test`, or `validation` where the
    data have none; empty while there is no such run."""
    for held_out in bench.own.held_out:
        for trial in trials.ended(BASELINE, held_out):
            run = bench.own.runs(BASELINE, trial.user_attrs[VALUES], held_out, bench.seeds[0])[None]
            if found := read_run(run, root):
                own = any(name.startswith(f"{IN_DOMAIN}/") for name in found["environments"])
                return "test" if own else "validation"
    return ""


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.6g}")
