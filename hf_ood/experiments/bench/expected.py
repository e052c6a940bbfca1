"""How long a bench will take, and which methods would fail, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...evaluation.leaderboard import BASELINE
from ..keyed_run import Run
from ..study.standing import expected_seconds
from ..sweep.plan import Plan
from ..sweep.space import defaults
from ..time_estimate import kind, makespan
from .plan import Bench


@dataclass(frozen=True)
class Expected:
    """`bench`: without the methods whose runs would fail, which it names with the reason. `seconds`: of all
    its trainings on the given cores."""

    bench: Bench
    seconds: float


def rehearse(bench: Bench, workers: int) -> Expected:
    """Time a few steps of every method at its defaults. Raises `ValueError` where ERM itself would fail."""
    seconds: list[float] = []
    failing: dict[str, str] = {}
    groups = {method: _one_trial(bench.plan, method) for method in bench.methods}
    for method, runs in [*groups.items(), (BASELINE, _one_trial(bench.own, BASELINE))]:
        found = expected_seconds(runs[:1], {})[kind(runs[0])]
        if not isinstance(found, str):
            seconds += [found] * len(runs)
        elif method == BASELINE:
            raise ValueError(f"{bench.name}: {runs[0].arm}: {found}")
        else:
            failing[method] = found
    going = [method for method in bench.methods if method not in failing]
    left = replace(bench, methods=going, left_out={**bench.left_out, **failing})
    return Expected(left, makespan(seconds * bench.trials * len(bench.seeds), workers))


def _one_trial(plan: Plan, method: str) -> list[Run]:
    """The runs of a trial with one seed, each once."""
    values = defaults(plan.space(method))
    runs = (run for held_out in plan.held_out for run in plan.runs(method, values, held_out, 0).values())
    return list({run.arm: run for run in runs}.values())
