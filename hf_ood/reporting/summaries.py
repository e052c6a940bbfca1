"""What is shown of a study: its table, verdicts, choices, curves and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from ..evaluation.verdicts import Interval, Verdict

ERRORS = ("mean_squared_error", "mean_rmse", "worst_rmse")  # measures of which less is better; not in percent


@dataclass(frozen=True)
class TableRow:
    """An arm: an interval for each measure that it has (percent), and the report's own figures."""

    arm: str
    measures: Mapping[str, Interval]
    report: Mapping[str, float]


@dataclass(frozen=True)
class ClaimRow:
    """`better` beats `than`: the paired difference over seeds, and the verdict (None for one seed)."""

    text: str
    better: str
    than: str
    measure: str
    difference: Interval
    verdict: Verdict | None


@dataclass(frozen=True)
class ChoiceRow:
    """The arm that a rule chooses for a method, and what it reaches (percent)."""

    rule: str
    method: str
    arm: str
    value: Interval


@dataclass(frozen=True)
class Curve:
    """An arm's accuracy (percent) after each epoch."""

    arm: str
    epochs: Sequence[float]
    values: Sequence[Interval]


@dataclass(frozen=True)
class Illustration:
    """A picture beside the tables: drawn without any run, or left behind by one."""

    name: str
    title: str
    content: Figure | Path
    note: str = ""


@dataclass(frozen=True)
class StudySummary:
    """All that the page shows of a study. `cpu_hours`: of its runs, also shared ones, if known."""

    name: str
    title: str
    note: str
    budget: str
    cpu_hours: float | None
    measures: Sequence[str]
    rows: Sequence[TableRow]
    claims: Sequence[ClaimRow]
    choices: Sequence[ChoiceRow]
    curves: Sequence[Curve]
    pictures: Sequence[Illustration]

    @property
    def reported(self) -> set[str]:
        """The measures of which the report gives any figure."""
        return {measure for row in self.rows for measure in row.report}
