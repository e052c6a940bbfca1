"""Intervals of a forecast, from how far the same forecast was off in environments that were left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.9
LEAST_ENVIRONMENTS = 4  # with fewer nothing is said of how far a forecast is off
Errors = Sequence[float]


@dataclass(frozen=True)
class Forecast:
    """A measure of a new site, 0..1: `value` and the interval from `low` to `high`, after `n` environments.
    `error`: half the interval over its quantile, of `freedom` degrees of freedom."""

    value: float
    low: float
    high: float
    error: float
    freedom: float
    n: int

    @property
    def width(self) -> float:
        return self.high - self.low


def student(estimate: float, errors: Errors, confidence: float = CONFIDENCE) -> Forecast:
    """Where the truth of a new site lies around its `estimate`, if truth minus estimate there is one more
    draw of the normal distribution of the `errors` [E] of environments that were left out: their
    t-prediction interval, within 0..1.

    The value is the estimate with the mean of the errors. Raises `ValueError` for fewer than four errors.
    """
    found = _enough(errors)
    n = len(found)
    error = float(found.std(ddof=1) * math.sqrt(1 + 1 / n))
    return interval(estimate + float(found.mean()), error, n - 1, n, confidence)


def conformal(estimate: float, errors: Errors, confidence: float = CONFIDENCE) -> Forecast:
    """The same without a distribution: if the new site and the E left out are exchangeable, its error is as
    likely to be the largest as any. The half width is the k-th smallest of the sizes of `errors`, with k =
    confidence (E + 1) rounded up; where E is too small for that (fewer than 9 at 0.9) it is all of 0..1.

    Source: Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world.
    """
    found = np.sort(np.abs(_enough(errors)))
    n = len(found)
    rank = math.ceil(confidence * (n + 1) - 1e-9)
    half = float(found[rank - 1]) if rank <= n else math.inf
    low, high = max(0.0, estimate - half), min(1.0, estimate + half)
    return Forecast(float(np.clip(estimate, 0, 1)), low, high, math.nan, math.nan, n)


INTERVALS: dict[str, Callable[[float, Errors, float], Forecast]] = {"t": student, "conformal": conformal}


def interval(value: float, error: float, freedom: float, n: int, confidence: float) -> Forecast:
    """`value` and the t-interval of its `error`, within 0..1."""
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * error
    low, high = np.clip([value - half, value + half], 0, 1)
    return Forecast(float(np.clip(value, 0, 1)), float(low), float(high), error, freedom, n)


def _enough(errors: Errors) -> np.ndarray:
    if len(errors) < LEAST_ENVIRONMENTS:
        raise ValueError(
            f"Too few environments: an interval over them needs at least {LEAST_ENVIRONMENTS} that were left "
            f"out, not {len(errors)}."
        )
    return np.asarray(errors, dtype=np.float64)
