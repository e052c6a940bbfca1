"""How long a bench will take, before anything is trained."""

from __future__ import annotations

from ...evaluation.leaderboard import BASELINE
from ..keyed_run import Run
from ..study.standing import expected_seconds
from ..sweep.plan import Plan
from ..sweep.space import defaults
from ..time_estimate import kind, makespan
from .plan import Bench


def expected(bench: Bench, workers: int) -> float:
    """Seconds on so many cores, from a few timed steps of every method at its defaults.

    Raises `ValueError` for a method whose runs would fail.
    """
    groups = [_one_trial(bench.plan, method) for method in bench.methods]
    groups.append(_one_trial(bench.own, BASELINE))
    seconds: list[float] = []
    for runs in groups:
        found = expected_seconds(runs[:1], {})[kind(runs[0])]
        if isinstance(found, str):
            raise ValueError(f"{bench.name}: {runs[0].arm}: {found}")
        seconds += [found] * len(runs)
    return makespan(seconds * bench.trials * len(bench.seeds), workers)


def _one_trial(plan: Plan, method: str) -> list[Run]:
    """The runs of a trial with one seed, each once."""
    values = defaults(plan.space(method))
    runs = (run for held_out in plan.held_out for run in plan.runs(method, values, held_out, 0).values())
    return list({run.arm: run for run in runs}.values())
