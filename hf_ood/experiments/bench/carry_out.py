"""A bench's runs, data set by data set, and what they leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optuna.storages import BaseStorage

from ...evaluation.leaderboard import BASELINE
from ..sweep.rounds import CarryOut, carry_on
from ..sweep.trials import Trials
from .collect import collect
from .kept import Kept
from .plan import Bench


@dataclass(frozen=True)
class Place:
    """Where a bench keeps what it does: `storage` of trials, which machines may share, and `runs_dir`."""

    storage: BaseStorage
    runs_dir: Path

    def trials(self, bench: Bench, which: str) -> Trials:
        """Of the methods, or of the environments themselves. Other budgets and seeds have trials of their
        own; the runs that they have in common are carried out once."""
        seeds = f"seeds {bench.seeds[0]}-{bench.seeds[-1]}"
        name = " ".join(["bench", bench.name, bench.budget, seeds, which])
        return Trials(name, self.storage, "random", "none", self.runs_dir / "trials")


def train(bench: Bench, place: Place, carry_out: CarryOut, say: Callable[[str], None]) -> list[str]:
    """Bring a bench to its end; what is done already is not done again. Returns what failed."""
    root, seeds, trials = place.runs_dir, bench.seeds, bench.trials
    say(f"{bench.name}: ERM on each environment itself")
    failed = carry_on(
        bench.own, [BASELINE], place.trials(bench, "itself"), trials, seeds, trials, bench.own.protocols[0],
        root, carry_out,
    )  # fmt: skip
    say(f"{bench.name}: {', '.join(bench.methods)}")
    return failed + carry_on(
        bench.plan, bench.methods, place.trials(bench, "held out"), trials, seeds, trials,
        bench.plan.protocols[0], root, carry_out,
    )  # fmt: skip


def results_of(bench: Bench, place: Place) -> Kept | None:
    """What a bench has found; None while nothing is complete."""
    return collect(bench, place.trials(bench, "held out"), place.trials(bench, "itself"), place.runs_dir)
