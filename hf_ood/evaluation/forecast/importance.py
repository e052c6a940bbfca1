"""Accuracy without labels from the samples with labels that look like the new site's."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from ..shift.classifier import SMALLEST, ClassifierPlugIn
from ..shift.sample import Sample, principal_components

COMPONENTS = 8
MOST_ROWS = 1000  # of either side, that the classifier is fitted to


def importance_weighted_accuracy(right: np.ndarray, weights: np.ndarray) -> float:
    """The mean of `right` [N] (1 where the model is) over held-out samples of the training environments, each
    with a weight [N] of how much likelier it is at the new site. Raises `ValueError` for weights that are
    negative or all zero."""
    if (weights < 0).any() or weights.sum() == 0:
        raise ValueError("Importance weights must not be negative, nor all zero.")
    return float((right * weights).sum() / weights.sum())


def importance_weights(features: np.ndarray, target: np.ndarray, seed: int = 0) -> np.ndarray:
    """How much likelier each row of `features` [N, D] is at the site whose features are `target` [M, D], up
    to a common factor: float [N].

    The odds of a classifier of the two (`evaluation.shift`), which has not seen the row that it judges, cut
    at their mean times the root of N. Sources: Bickel, Brueckner and Scheffer 2009, Discriminative learning
    under covariate shift; for the cut Ionides 2008, Truncated importance sampling.
    """
    reduced, _ = principal_components(np.concatenate([features, target]), COMPONENTS, seed)
    splits = np.repeat([0, 1], [len(features), len(target)])
    with threadpool_limits(1):
        joint, _ = ClassifierPlugIn(seed=seed).joint_probabilities(
            Sample(reduced, splits, np.zeros_like(splits))
        )
    there = np.clip(joint[: len(features), 1, 0], SMALLEST, 1 - SMALLEST)
    odds = there / (1 - there)
    return np.minimum(odds, odds.mean() * len(odds) ** 0.5)


def importance_weighting(right: np.ndarray, features: np.ndarray, target: np.ndarray, seed: int = 0) -> float:
    """`importance_weighted_accuracy` with the weights of `importance_weights`, of at most 1,000 rows of
    either side."""
    rng = np.random.default_rng(seed)
    here, there = (
        np.sort(rng.permutation(len(part))[:MOST_ROWS]) for part in (np.asarray(features), np.asarray(target))
    )
    return importance_weighted_accuracy(
        right[here], importance_weights(features[here], target[there], seed=seed)
    )
