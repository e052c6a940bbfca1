"""How long a bench will take, and which methods would fail, before anything is trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...evaluation.leaderboard import BASELINE
from ..head_estimate import kind_of_job, time_job
from ..jobs import jobs_of
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
    """Time a few steps of every method at its defaults; of heads that are trained together, of all of them at
    once. Raises `ValueError` where ERM itself would fail."""
    groups = [(method, _one_trial(bench.plan, method)) for method in bench.methods]
    groups.append((BASELINE, _one_trial(bench.own, BASELINE)))
    together = {
        run.arm: run for _, runs in groups for job in jobs_of(runs) if job.together for run in job.runs
    }
    once, seconds = _heads(list(together.values()), bench.trials)
    failing: dict[str, str] = {}
    for method, runs in groups:
        alone = [run for run in runs if run.arm not in together]
        if not alone:
            continue
        found = expected_seconds(alone[:1], {})[kind(alone[0])]
        if not isinstance(found, str):
            seconds += [found] * len(alone) * bench.trials
        elif method == BASELINE:
            raise ValueError(f"{bench.name}: {alone[0].arm}: {found}")
        else:
            failing[method] = found
    going = [method for method in bench.methods if method not in failing]
    left = replace(bench, methods=going, left_out={**bench.left_out, **failing})
    return Expected(left, once + makespan(seconds * len(bench.seeds), workers))


def _heads(runs: Sequence[Run], trials: int) -> tuple[float, list[float]]:
    """Seconds of features, which are computed once, and of each job of a seed with so many trials."""
    kinds = defaultdict(list)
    for job in jobs_of([run for run in runs for _ in range(trials)]):
        kinds[kind_of_job(job)].append(job)
    once, seconds = 0.0, []
    for same in kinds.values():
        timed = time_job(max(same, key=lambda job: len(job.runs)))
        once = max(once, timed.features)
        seconds += [timed.job + timed.head * len(job.runs) for job in same]
    return once, seconds


def _one_trial(plan: Plan, method: str) -> list[Run]:
    """The runs of a trial with one seed, each once."""
    values = defaults(plan.space(method))
    runs = (run for held_out in plan.held_out for run in plan.runs(method, values, held_out, 0).values())
    return list({run.arm: run for run in runs}.values())
