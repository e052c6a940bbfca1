"""Accuracy without labels from how often models of several seeds agree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.stats import linregress, norm

from .in_domain import in_domain_accuracy

PAIRS_OF_A_LINE = 3  # with fewer the slope of the line is taken to be 1


def agreement_on_the_line(
    logits: Sequence[np.ndarray], labels: np.ndarray, targets: Sequence[np.ndarray]
) -> float:
    """The accuracy of the first of several models on a new site.

    `logits`: of each model on held-out samples of the training environments, [N, C] each, with labels int
    [N]; `targets`: of each on the new site, [M, C] each. On the probit scale the share of samples that two
    models agree on falls from here to there along the line that accuracy falls along; the line is fitted to
    the pairs of models, from three on (three models), and has slope 1 through the mean of fewer. Raises
    `ValueError` for fewer than two models.

    Source: Baek et al. 2022, arXiv:2206.13089 (agreement-on-the-line, ALine-S).
    """
    if len(logits) < 2 or len(logits) != len(targets):
        raise ValueError(
            "Agreement is between models: give the logits of at least two seeds, here and there."
        )
    here, there = (_agreements(part) for part in (logits, targets))
    slope = 1.0
    if len(here) >= PAIRS_OF_A_LINE and np.ptp(here) > 0:
        slope = float(linregress(here, there).slope)
    accuracy = _probit(np.array(in_domain_accuracy(logits[0], labels)), len(labels))
    return float(norm.cdf(there.mean() + slope * (accuracy - here.mean())))


def _agreements(logits: Sequence[np.ndarray]) -> np.ndarray:
    """The share of samples that each pair of models agrees on, on the probit scale."""
    classes = [np.asarray(part).argmax(1) for part in logits]
    shares = [float((one == other).mean()) for one, other in combinations(classes, 2)]
    return _probit(np.array(shares), len(classes[0]))


def _probit(shares: np.ndarray, count: int) -> np.ndarray:
    """Of shares of `count` samples; none and all are half a sample short of it."""
    return norm.ppf(np.clip(shares, 0.5 / count, 1 - 0.5 / count))
