"""Of which kind the shift to an environment is, read against none."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from ..shift.classifier import ClassifierPlugIn
from ..shift.sample import Sample, balanced_rows, principal_components
from .importance import COMPONENTS

MOST_ROWS = 500  # of either side
NULLS = 5  # samples without shift
KINDS = ("diversity", "correlation")


def shift_of_site(
    features: np.ndarray, labels: np.ndarray, target: np.ndarray, target_labels: np.ndarray, seed: int = 0
) -> dict[str, dict[str, float]] | None:
    """Diversity and correlation shift from `features` [N, D] with `labels` int [N] to the site's `target` [M,
    D] with `target_labels` int [M]: of each its `value`, and its `null`, what it reads on average where the
    same rows are shuffled between both. None where a class has fewer than five rows on a side.

    As `measure_shift` measures them, on fewer rows and without intervals, for many environments in seconds.
    """
    method = ClassifierPlugIn(seed=seed)
    rng = np.random.default_rng(seed)
    names = [str(label) for label in range(1 + max(labels.max(initial=0), target_labels.max(initial=0)))]
    try:
        rows = balanced_rows(labels, target_labels, MOST_ROWS, method.least_rows, names, rng)
    except ValueError:
        return None
    both = np.concatenate([features[rows[0]], target[rows[1]]])
    if not np.ptp(both, axis=0).any():
        return None
    reduced, _ = principal_components(both, COMPONENTS, seed)
    sample = Sample(
        reduced,
        np.repeat([0, 1], len(rows[0])),
        np.concatenate([labels[rows[0]], target_labels[rows[1]]]),
    )
    with threadpool_limits(1):
        values = method.estimate(sample).values
        null = np.mean([method.estimate(sample.exchanged(rng)).values for _ in range(NULLS)], axis=0)
    return {
        kind: {"value": float(values[place]), "null": float(null[place])} for place, kind in enumerate(KINDS)
    }
