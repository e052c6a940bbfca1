"""Means with 95 % intervals, and what they say about a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.stats import t as student_t

ERRORS = ("mean_squared_error",)  # measures of which less is better; not in percent
RULE = (
    "A beats B is *replicated* when the 95 % interval of the paired differences A - B over seeds "
    "(t-distribution; B - A of squared errors) lies above zero, *reversed* when it lies below zero, and *not "
    "replicated* otherwise."
)


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


class Verdict(StrEnum):
    REPLICATED = "replicated"
    NOT_REPLICATED = "not replicated"
    REVERSED = "reversed"


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean and confidence interval under the t-distribution. Raises `ValueError` without values."""
    data = np.asarray(values, dtype=float)
    if len(data) == 0:
        raise ValueError("There is nothing to average.")
    if len(data) == 1:
        return Interval(float(data[0]), math.nan, 1)
    error = data.std(ddof=1) / math.sqrt(len(data))
    quantile = student_t.ppf((1 + confidence) / 2, len(data) - 1)
    return Interval(float(data.mean()), float(quantile * error), len(data))


def verdict(differences: Sequence[float]) -> tuple[Interval, Verdict]:
    """Judge "A beats B" from the paired differences A - B, one a seed, by `RULE`."""
    found = interval(differences)
    if found.n >= 2 and found.mean - found.half_width > 0:
        return found, Verdict.REPLICATED
    if found.n >= 2 and found.mean + found.half_width < 0:
        return found, Verdict.REVERSED
    return found, Verdict.NOT_REPLICATED
