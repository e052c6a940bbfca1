"""A sweep's rounds: take up trials, carry out their runs, tell Optuna; until every study has its trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ...evaluation.selection import Protocol
from ..keyed_run import Run, finished
from .plan import Plan
from .trials import OpenTrial, Trials

CarryOut = Callable[[Sequence[Run]], list[str]]  # runs -> what failed


def carry_on(
    plan: Plan,
    methods: Sequence[str],
    trials: Trials,
    wanted: int,
    seeds: Sequence[int],
    at_once: int,
    guide: Protocol,
    root: Path,
    carry_out: CarryOut,
) -> list[str]:
    """Bring every study to `wanted` trials, each with every one of `seeds`. Returns what failed.

    Each round takes up `at_once` trials for each method and held-out environment, all of them side by side.
    `guide`: whose score Optuna gets, which the pruner and TPE look at.
    """
    failed: list[str] = []
    while True:
        taken = [
            trial
            for method in methods
            for held_out in plan.held_out
            for trial in trials.take_up(method, held_out, wanted, at_once, plan.space(method))
        ]
        if not taken:
            return failed
        failed += _round(plan, taken, trials, seeds, guide, root, carry_out)


def _round(
    plan: Plan,
    taken: list[OpenTrial],
    trials: Trials,
    seeds: Sequence[int],
    guide: Protocol,
    root: Path,
    carry_out: CarryOut,
) -> list[str]:
    """Seed by seed, so that a trial whose first seeds look bad can be pruned before the rest."""
    failed: list[str] = []
    scores: dict[int, list[float]] = {id(trial): [] for trial in taken}
    going = list(taken)
    for done, seed in enumerate(seeds, start=1):
        runs = {
            run.folder(root): run
            for trial in going
            for run in plan.runs(trial.method, trial.values, trial.held_out, seed).values()
            if not finished(run, root)
        }
        failed += carry_out(list(runs.values()))
        still = []
        for trial in going:
            candidate = plan.candidate(trial.method, trial.values, trial.held_out, seed, root)
            if candidate is None:  # a run failed: its message is among the failures
                trials.tell(trial, None)
                continue
            scores[id(trial)].append(guide.score(candidate))
            if trials.prunes:
                trial.trial.report(sum(scores[id(trial)]) / done, done - 1)
                if done < len(seeds) and trial.trial.should_prune():
                    trials.tell(trial, None, pruned=True)
                    continue
            still.append(trial)
        going = still
    for trial in going:
        trials.tell(trial, sum(scores[id(trial)]) / len(seeds))
    return failed
