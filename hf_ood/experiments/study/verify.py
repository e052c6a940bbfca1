"""One seed of a study carried out again: is it the committed one?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ..keyed_run import Run
from .rows import KeptRows, is_of_now
from .study import Study
from .table import PER_SEED

MAY_DIFFER = (
    "To the digit it is only the same on machines of one kind: another processor or another version of torch "
    "adds numbers up in another order, and training makes a last digit grow."
)


@dataclass(frozen=True)
class Check:
    """A run beside its committed rows: measures that differ, with both values."""

    run: Run
    committed: pd.DataFrame
    again: pd.DataFrame

    @property
    def different(self) -> dict[str, tuple[str, str]]:
        """`(committed, now)` by measure, as the table writes them."""
        ours, theirs = _written(self.again), _written(self.committed)
        names = dict.fromkeys([*theirs, *ours])
        return {
            name: (theirs.get(name, "nothing"), ours.get(name, "nothing"))
            for name in names
            if theirs.get(name) != ours.get(name)
        }

    def __str__(self) -> str:
        which = f"{self.run.study}: {self.run.arm}, seed {self.run.seed}"
        commit = self.committed["commit"].iloc[0]
        of = f"commit {commit}" if commit else "earlier code, of no known commit"
        if not is_of_now(self.committed, self.run):
            of += ", made on other code or versions than these"
        if not self.different:
            return f"{which}: the committed one ({of}), to the digit in {len(self.committed)} figures"
        told = ", ".join(
            f"{name} {then} committed, {now} now" for name, (then, now) in self.different.items()
        )
        return f"{which}: NOT the committed one ({of}): {told}"


def committed_rows(study: Study, runs: Sequence[Run], kept: KeptRows, budget: str) -> list[pd.DataFrame]:
    """The rows of these runs. Raises `ValueError` where there are none of the same settings."""
    found = [kept.find(study, run) for run in runs]
    lacking = [run.arm for run, rows in zip(runs, found, strict=True) if rows is None]
    if lacking:
        raise ValueError(
            f"{study.name}: of seed {runs[0].seed} at the {budget} budget no row of these settings is "
            f"kept for {', '.join(lacking)}. Choose another --seed or --budget, or "
            "the arms that have one (--only)."
        )
    return [rows for rows in found if rows is not None]


def _written(rows: pd.DataFrame) -> dict[str, str]:
    return {
        name: "nothing" if pd.isna(value) else PER_SEED % value
        for name, value in zip(rows["measure"], rows["value"], strict=True)
    }
