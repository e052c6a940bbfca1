"""Which known environment a new site is nearest to, and whether it lies outside what they span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from ..shift.classifier import ClassifierPlugIn
from ..shift.sample import Sample, balanced_rows, principal_components
from .importance import COMPONENTS

MOST_ROWS = 1000  # of either side
LEAST_DIVERSITY = 0.1  # a smaller shift does not put a site outside anything


@dataclass(frozen=True)
class Nearest:
    """`name`: of the nearest environment. `diversities`: diversity shift, 0..1, from each to the site."""

    name: str
    diversities: Mapping[str, float]

    @property
    def diversity(self) -> float:
        return self.diversities[self.name]


def diversity(one: np.ndarray, other: np.ndarray, seed: int = 0) -> float:
    """Diversity shift between the features of two sites, [N, D] and [M, D], without labels: 0 where they
    are distributed alike, 1 where they share nothing. As `measure_shift` measures it, of one class.

    Raises `ValueError` for fewer than five rows of either.
    """
    method = ClassifierPlugIn(seed=seed)
    rng = np.random.default_rng(seed)
    parts = [np.zeros(len(part), dtype=np.int64) for part in (one, other)]
    rows = balanced_rows(parts[0], parts[1], MOST_ROWS, method.least_rows, ["any"], rng)
    features = np.concatenate([np.asarray(one)[rows[0]], np.asarray(other)[rows[1]]])
    if not np.ptp(features, axis=0).any():
        return 0.0
    reduced, _ = principal_components(features, COMPONENTS, seed)
    splits = np.repeat([0, 1], len(rows[0]))
    with threadpool_limits(1):
        found = method.estimate(Sample(reduced, splits, np.zeros_like(splits))).values[0]
    return float(found)


def nearest_environment(
    features: np.ndarray, environments: Mapping[str, np.ndarray], seed: int = 0
) -> Nearest:
    """The environment whose features [N, D] are shifted least from the site's `features` [M, D]. Raises
    `ValueError` without environments."""
    if not environments:
        raise ValueError("There is no environment to be near to.")
    found = {name: diversity(part, features, seed) for name, part in environments.items()}
    return Nearest(min(found, key=lambda name: found[name]), found)


def is_outside(distance: float, distances: Sequence[float]) -> bool:
    """Whether a site lies farther from its nearest environment than each of the known ones from its nearest
    other, `distances` [E], did, and by a diversity shift of at least 0.1. Of a site like them that is said
    with a chance of 1 / (E + 1) at most."""
    return distance > max(LEAST_DIVERSITY, *distances)
