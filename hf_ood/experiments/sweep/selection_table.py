"""What a sweep found: a row for every candidate and protocol, the choices, their worth, the cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ...evaluation.verdicts import interval
from ..keyed_run import read_run
from .plan import Plan
from .trials import VALUES, Trials

AVERAGE = "average"
COLUMNS = ["method", "held_out", "trial", "seed", "protocol", "oracle", "score", "accuracy"]


def candidates(
    plan: Plan, methods: Sequence[str], trials: Trials, seeds: Sequence[int], root: Path
) -> pd.DataFrame:
    """All that was tried: score and accuracy as shares, by `COLUMNS`. Pruned trials lack later seeds."""
    rows = []
    for method in methods:
        for held_out in plan.held_out:
            for trial in trials.ended(method, held_out):
                for seed in seeds:
                    found = plan.candidate(method, trial.user_attrs[VALUES], held_out, seed, root)
                    if found is None:
                        continue
                    for protocol in plan.protocols:
                        which = (method, held_out, trial.number, seed, protocol.name, protocol.oracle)
                        rows.append([*which, protocol.score(found), protocol.accuracy(found)])
    return pd.DataFrame(rows, columns=COLUMNS)


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """For each protocol, method, held-out environment and seed, the candidate of the highest score.

    Seeds choose apart, so that their spread is that of the whole procedure, choice included (DomainBed).
    """
    groups = ["protocol", "method", "held_out", "seed"]
    return table.loc[table.groupby(groups, sort=False)["score"].idxmax()].reset_index(drop=True)


def worth(choices: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in percent with 95 % interval, as text: a row for each (protocol, method), a column for each
    held-out environment, and their average."""
    rows = {}
    for (protocol, method), group in choices.groupby(["protocol", "method"], sort=False):
        by_seed = 100 * group.pivot(index="seed", columns="held_out", values="accuracy")
        by_seed = by_seed[list(dict.fromkeys(group["held_out"]))].dropna()
        by_seed[AVERAGE] = by_seed.mean(axis=1)
        rows[(protocol, method)] = {name: str(interval(by_seed[name].tolist())) for name in by_seed}
    index = pd.MultiIndex.from_tuples(rows, names=["protocol", "method"])
    return pd.DataFrame(list(rows.values()), index=index)


def best_values(
    table: pd.DataFrame, trials: Trials, method: str, held_out: str, protocol: str
) -> dict[str, float]:
    """The hyper-parameters of the highest mean score over seeds."""
    own = table[
        (table["method"] == method) & (table["held_out"] == held_out) & (table["protocol"] == protocol)
    ]
    complete = own[own["trial"].isin(own["trial"].value_counts().loc[lambda n: n == n.max()].index)]
    number = complete.groupby("trial")["score"].mean().idxmax()
    return next(t.user_attrs[VALUES] for t in trials.ended(method, held_out) if t.number == number)


def cost(
    plan: Plan, methods: Sequence[str], trials: Trials, seeds: Sequence[int], root: Path
) -> pd.DataFrame:
    """Runs, CPU seconds and training seconds of each method; a run that serves twice counts once."""
    rows = {}
    for method in methods:
        runs = {
            run.folder(root): run
            for held_out in plan.held_out
            for trial in trials.ended(method, held_out)
            for seed in seeds
            for run in plan.runs(method, trial.user_attrs[VALUES], held_out, seed).values()
        }
        results = [found for run in runs.values() if (found := read_run(run, root)) is not None]
        rows[method] = {
            "runs": len(results),
            "CPU seconds": round(sum(one["cpu_seconds"] for one in results), 1),
            "training seconds": round(sum(one["seconds"] for one in results), 1),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")
