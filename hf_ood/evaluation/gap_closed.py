"""How much of what a shift costs a method wins back.

The gap of an environment is what training on the environment itself gains over a baseline that never saw it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from .verdicts import CONFIDENCE, Interval, interval


def gap(own: ArrayLike, baseline: ArrayLike) -> Interval:
    """By how much training on the environments themselves is better than the baseline: the mean over
    environments, with its interval over seeds. Both: percent, [seeds, environments]."""
    return interval(_differences(own, baseline).tolist())


def share_of_gap_closed(method: ArrayLike, baseline: ArrayLike, own: ArrayLike) -> Interval | None:
    """Which share of the gap the method closes: 0 as the baseline, 1 as training on the environment itself.

    All three: percent, [seeds, environments], paired by seed. The ratio of two means over seeds and
    environments, (method - baseline) / (own - baseline), with the interval of a ratio estimator (Cochran
    1977, section 6): the spread over seeds of what the ratio leaves of each numerator. None where the
    interval of the gap is not above zero: there is no gap to close. Raises `ValueError` for values of
    different shapes.
    """
    gaps = _differences(own, baseline)
    found = interval(gaps.tolist())
    if not (found.low > 0 if found.n > 1 else found.mean > 0):
        return None
    gained = _differences(method, baseline)
    if len(gained) != len(gaps):
        raise ValueError(f"{len(gained)} and {len(gaps)} seeds: each needs the same ones.")
    ratio = float(gained.mean() / gaps.mean())
    if len(gaps) < 2:
        return Interval(ratio, math.nan, 1)
    left = gained - ratio * gaps
    error = float(np.sqrt((left**2).sum() / (len(left) - 1) / len(left)) / gaps.mean())
    return Interval(ratio, float(stdtrit(len(left) - 1, (1 + CONFIDENCE) / 2)) * error, len(left))


def _differences(one: ArrayLike, other: ArrayLike) -> np.ndarray:
    """The mean over environments of the difference, float [seeds]."""
    first, second = np.asarray(one, float), np.asarray(other, float)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"Values of {first.shape} and {second.shape}: each needs [seeds, environments].")
    return (first - second).mean(axis=1)
