"""Logits made into probabilities that mean what they say on samples with labels."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

LEAST, MOST = math.log(1 / 50), math.log(50)  # of log-temperatures


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number that logits [N, C] are divided by for the lowest cross-entropy on labels int [N], within
    1/50..50. Source: Guo et al. 2017, arXiv:1706.04599, section 4.2."""
    refuse_nothing(logits, labels)
    numbers = np.asarray(logits, dtype=np.float64)
    true = numbers[np.arange(len(labels)), labels]

    def cross_entropy(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        return float((logsumexp(scale * numbers, axis=1) - scale * true).mean())

    found = minimize_scalar(cross_entropy, bounds=(LEAST, MOST), method="bounded", options={"xatol": 1e-9})
    return math.exp(found.x)


def probabilities(logits: np.ndarray, divided_by: float = 1.0) -> np.ndarray:
    """Logits [N, C] as probabilities float64 [N, C], at a temperature."""
    return softmax(np.asarray(logits, dtype=np.float64) / divided_by, axis=1)


def refuse_nothing(logits: np.ndarray, labels: np.ndarray) -> None:
    """Raise `ValueError` without samples, and for another number of labels than of logits."""
    if len(logits) == 0 or len(logits) != len(labels):
        raise ValueError(
            f"There are {len(logits)} rows of logits and {len(labels)} labels: one each, at least one."
        )
