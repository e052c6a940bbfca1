"""What is shown of a study: its table, verdicts, choices, curves and pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from ..evaluation.verdicts import CONFIDENCE, MOST_SEEDS, Interval, Place, Verdict, holm

ERRORS = ("mean_squared_error", "mean_rmse", "worst_rmse")  # measures of which less is better; not in percent


@dataclass(frozen=True)
class TableRow:
    """An arm: an interval for each measure that it has (percent), and the report's own figures."""

    arm: str
    measures: Mapping[str, Interval]
    report: Mapping[str, float]


@dataclass(frozen=True)
class ClaimRow:
    """`better` beats `than`: the paired difference over seeds, and the verdict (None for one seed).

    `margin`: what counts as no difference, None where that cannot be shown. `seeds_needed`: about how many
    seeds decide; None where more than can be counted, or nothing is known. `p_value`: NaN for one seed.
    """

    text: str
    better: str
    than: str
    measure: str
    difference: Interval
    verdict: Verdict | None
    margin: float | None = None
    p_value: float = math.nan
    seeds_needed: int | None = None


@dataclass(frozen=True)
class PrintedRow:
    """A figure that `source` prints of an arm, beside ours; `place` is None for one seed."""

    arm: str
    measure: str
    source: str
    printed: float
    ours: Interval
    place: Place | None

    @property
    def difference(self) -> float:
        return self.ours.mean - self.printed


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
    """All that the page shows of a study.

    `cpu_hours`: of its runs, also shared ones, if known. `seeds`: how many the arms have, at least and at
    most; `planned`, `planned_arms`: how many seeds and arms the study states for this budget. `commits`:
    where its rows were computed, empty for what is from before that was kept. `other_settings`: whether rows
    are of other settings than the study has now, or of unknown ones. `source`: whose figures `report` has.
    `table`: the per-seed table.
    """

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
    validation_curves: Sequence[Curve] = ()
    printed: Sequence[PrintedRow] = ()
    seeds: tuple[int, int] = (0, 0)
    planned: int = 0
    planned_arms: int = 0
    commits: Sequence[str] = ()
    other_settings: bool = False
    source: str = "report"
    table: Path | None = None

    @property
    def computed_at(self) -> str:
        """Where its rows were computed, in words."""
        known = [commit for commit in self.commits if commit]
        earlier = "by code from before commits were kept"
        return " and ".join([f"at {', '.join(known)}"] * bool(known) + [earlier] * ("" in self.commits))

    @property
    def extent(self) -> str:
        """The arms and seeds that it has, in words, and the stated numbers where these are not reached."""
        least, most = self.seeds
        found = f"{least} seed{'s' if least != 1 else ''}" if least == most else f"{least} to {most} seeds"
        found = found if least >= self.planned else f"{found} of {self.planned} stated"
        lacking = self.planned_arms > len(self.rows)
        return f"{len(self.rows)} of {self.planned_arms} arms so far, {found}" if lacking else found

    @property
    def reported(self) -> set[str]:
        """The measures of which the report gives any figure."""
        return {measure for row in self.rows for measure in row.report}


@dataclass(frozen=True)
class Judged:
    """A claim in the table of all; `p_holm`: corrected for all of them."""

    study: StudySummary
    claim: ClaimRow
    p_holm: float

    @property
    def survives(self) -> bool:
        """Whether the difference is still there when all claims count as one table."""
        return self.p_holm < 1 - CONFIDENCE

    @property
    def verdict(self) -> str:
        return self.claim.verdict or "none: one seed"

    @property
    def seeds_needed(self) -> str:
        """In words: nothing for one seed."""
        if self.claim.verdict is None:
            return ""
        return f"> {MOST_SEEDS}" if self.claim.seeds_needed is None else str(self.claim.seeds_needed)


def judged(summaries: Sequence[StudySummary]) -> list[Judged]:
    """All claims of a page, in order, with Holm's correction over the whole table."""
    claims = [(study, claim) for study in summaries for claim in study.claims]
    corrected = holm([claim.p_value for _, claim in claims])
    return [Judged(study, claim, p) for (study, claim), p in zip(claims, corrected, strict=True)]


def counts(claims: Sequence[Judged]) -> Iterator[tuple[int, str, str]]:
    """How many claims have each verdict, in words, and the verdict."""
    found = Counter(each.claim.verdict for each in claims)
    words: dict[Verdict | None, tuple[str, str]] = {
        Verdict.HOLDS: ("holds", "hold"),
        Verdict.REVERSED: ("is reversed", "are reversed"),
        Verdict.NO_DIFFERENCE: ("shows no difference", "show no difference"),
        Verdict.INCONCLUSIVE: ("is open (inconclusive)", "are open (inconclusive)"),
        None: ("has one seed", "have one seed"),
    }
    for verdict, (of_one, of_several) in words.items():
        if found[verdict] or verdict is not None:
            yield found[verdict], of_one if found[verdict] == 1 else of_several, verdict or "none"
