"""What paired differences over seeds decide: intervals, four verdicts, Holm's correction, seeds still needed.

judgement = judge([2.1, 3.0, 2.4])        # A - B in points, one a seed
judgement.verdict                         # <Verdict.HOLDS: 'holds'>
str(judgement.difference)                 # '2.50 ± 1.14 (n = 3)'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from scipy.special import nctdtr, stdtr, stdtrit

CONFIDENCE = 0.95
MARGIN = 1.0  # points: a difference that nobody would choose a method for
POWER = 0.8
MOST_SEEDS = 1000  # beyond, nobody asks how many exactly
RULE = (
    "A beats B *holds* when the 95 % interval of the paired differences A - B over seeds (t-distribution; "
    "B - A of squared errors) lies above zero; it is *reversed* when the interval lies below zero; there is "
    f"*no difference* when it lies within the study's margin (± {MARGIN:g} point of accuracy where it states "
    "no other): that is an equivalence test; anything else is *inconclusive*. One seed decides nothing."
)
PRINTED_RULE = (
    "A figure that the report prints *matches* ours when its single run lies within our 95 % prediction "
    "interval for one more run (of a mean of several runs, for their mean); otherwise ours is *above* or "
    "*below* it."
)


class Verdict(StrEnum):
    """What seeds say about "A beats B"."""

    HOLDS = "holds"
    REVERSED = "reversed"
    NO_DIFFERENCE = "no difference"
    INCONCLUSIVE = "inconclusive"


class Place(StrEnum):
    """Where our figure lies beside one that somebody printed."""

    MATCHES = "matches"
    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True)
class Interval:
    """Mean, half width of its 95 % confidence interval (NaN for n = 1), and n."""

    mean: float
    half_width: float
    n: int

    def __str__(self) -> str:
        if self.n < 2:
            return f"{self.mean:.2f} (n = {self.n})"
        return f"{self.mean:.2f} ± {self.half_width:.2f} (n = {self.n})"

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width


@dataclass(frozen=True)
class Judgement:
    """What paired differences decide.

    `verdict`: None for one seed, which decides nothing. `p_value`: of the two-sided paired t-test (NaN for
    one seed). `seeds_needed`: see the function of that name; None where nothing can be said.
    """

    difference: Interval
    verdict: Verdict | None
    p_value: float
    seeds_needed: int | None


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Mean and confidence interval under the t-distribution. Raises `ValueError` without values."""
    data = np.asarray(values, dtype=float)
    if len(data) == 0:
        raise ValueError("There is nothing to average.")
    if len(data) == 1:
        return Interval(float(data[0]), math.nan, 1)
    error = data.std(ddof=1) / math.sqrt(len(data))
    quantile = stdtrit(len(data) - 1, (1 + confidence) / 2)
    return Interval(float(data.mean()), float(quantile * error), len(data))


def prediction_interval(values: Sequence[float], runs: int = 1, confidence: float = CONFIDENCE) -> Interval:
    """Where the mean of so many further runs lies with that confidence, if they are like ours."""
    found = interval(values, confidence)
    return replace(found, half_width=found.half_width * math.sqrt(1 + found.n / runs))


def place(values: Sequence[float], printed: float, runs: int = 1) -> Place | None:
    """Where our values lie beside a printed figure, the mean of `runs` runs; None for one value, which has no
    interval."""
    found = prediction_interval(values, runs)
    if found.n < 2:
        return None
    if found.low <= printed <= found.high:
        return Place.MATCHES
    return Place.ABOVE if found.mean > printed else Place.BELOW


def verdict(difference: Interval, margin: float | None = MARGIN) -> Verdict | None:
    """The verdict on "A beats B" from the interval of the paired differences A - B; None for one seed.

    `margin`: what still counts as no difference, in the unit of the differences (points of accuracy); None
    where no margin makes sense: then *no difference* cannot be shown. Where the interval lies above zero and
    within the margin, A beats B *holds*: there is a difference, if a small one. That the 95 % interval lies
    within the margin is two one-sided tests at 2.5 % each (Schuirmann 1987).
    """
    if difference.n < 2:
        return None
    if difference.low > 0:
        return Verdict.HOLDS
    if difference.high < 0:
        return Verdict.REVERSED
    if margin is not None and -margin < difference.low and difference.high < margin:
        return Verdict.NO_DIFFERENCE
    return Verdict.INCONCLUSIVE


def judge(differences: Sequence[float], margin: float | None = MARGIN) -> Judgement:
    """Judge "A beats B" from the paired differences A - B, one a seed, larger being better for A.

    Raises `ValueError` without differences.
    """
    found = interval(differences)
    return Judgement(
        found, verdict(found, margin), paired_p_value(differences), seeds_needed(differences, margin)
    )


def paired_p_value(differences: Sequence[float]) -> float:
    """Of the two-sided t-test that the mean difference is zero; NaN for one difference."""
    data = np.asarray(differences, dtype=float)
    if len(data) < 2:
        return math.nan
    mean, error = abs(data.mean()), data.std(ddof=1) / math.sqrt(len(data))
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(len(data) - 1, -mean / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected together (Holm 1979): the chance that *any* of those called
    significant is so by accident stays below the level. NaN (no test) stays NaN and counts for nothing."""
    data = np.asarray(p_values, dtype=float)
    order = [position for position in np.argsort(data) if not math.isnan(data[position])]
    corrected = np.full(len(data), math.nan)
    scaled = [(len(order) - rank) * data[position] for rank, position in enumerate(order)]
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if order else []
    return corrected.tolist()


def seeds_needed(
    differences: Sequence[float], margin: float | None = MARGIN, power: float = POWER
) -> int | None:
    """About how many seeds decide, if mean and spread stay as observed.

    The smallest n at which the verdict is *holds* or *reversed*, or else *no difference*, with a chance of
    `power`. A forecast from few seeds is rough, as their spread is. None for one seed, and where more than
    `MOST_SEEDS` would be needed.
    """
    data = np.asarray(differences, dtype=float)
    if len(data) < 2:
        return None
    mean, spread = abs(data.mean()), data.std(ddof=1)
    if spread == 0:
        decided = mean > 0 or margin is not None
        return 2 if decided else None
    n = np.arange(2, MOST_SEEDS + 1)
    quantile, scale = stdtrit(n - 1, (1 + CONFIDENCE) / 2), np.sqrt(n) / spread
    chance = 1 - nctdtr(n - 1, mean * scale, quantile)
    if margin is not None and mean < margin:  # both one-sided tests, by Bonferroni's bound
        above = 1 - nctdtr(n - 1, (margin + mean) * scale, quantile)
        below = 1 - nctdtr(n - 1, (margin - mean) * scale, quantile)
        chance = np.fmax(chance, above + below - 1)
    enough = np.flatnonzero(chance >= power)
    return int(n[enough[0]]) if len(enough) else None
