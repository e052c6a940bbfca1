"""Intervals for shares and means of few samples: Wilson's, and a bootstrap that draws whole groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, bootstrap

CONFIDENCE = 0.95
RESAMPLES = 2000


def wilson(right: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of a share, `right` of `count` independent samples (Wilson 1927). Raises `ValueError`
    without samples."""
    found = binomtest(right, count).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def bootstrap_by_group(
    values: Sequence[float],
    groups: Sequence[object],
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval of the mean of `values` [N] where the samples of a group (a patient, an emoji) are alike,
    `groups` [N]: groups are drawn with replacement, each with all its samples (percentile interval).

    Its interval is the wider, the more the samples of a group have in common. NaN of both ends for one group,
    which says nothing of others. Raises `ValueError` without samples.
    """
    numbers = np.asarray(values, dtype=float)
    if len(numbers) == 0 or len(numbers) != len(groups):
        raise ValueError(f"There are {len(numbers)} values and {len(groups)} groups: one group a value.")
    _, members = np.unique(np.asarray(groups), return_inverse=True)
    sums, counts = np.bincount(members, numbers), np.bincount(members)
    if len(sums) == 1:
        return math.nan, math.nan

    def mean(total: np.ndarray, count: np.ndarray, axis: int = -1) -> np.ndarray:
        return total.sum(axis) / count.sum(axis)

    found = bootstrap(
        (sums, counts),
        mean,
        paired=True,
        n_resamples=resamples,
        batch=max(1, 1_000_000 // len(sums)),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
