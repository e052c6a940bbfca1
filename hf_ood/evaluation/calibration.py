"""One temperature for all logits, so that confidence says how often a prediction is right."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from .metrics import log_softmax

COLDEST, HOTTEST = 0.01, 100.0


def loss_at(temperature: float, logits: np.ndarray, references: np.ndarray) -> float:
    """Mean cross-entropy in nats of `logits / temperature` [N, C], in float64; binary cross-entropy where the
    references are of several labels, float [N, L]."""
    scaled = np.asarray(logits, np.float64) / temperature
    if references.ndim == 2:
        return float((np.logaddexp(0, scaled) - references * scaled).mean())
    return float(-log_softmax(scaled)[np.arange(len(scaled)), references].mean())


def fit_temperature(logits: np.ndarray, references: np.ndarray) -> float:
    """The temperature whose division of the logits gives the lowest cross-entropy.

    `logits` [N, C]; `references`: int [N], or 0 and 1 of several labels [N, L]. The loss is convex in the
    inverse of the temperature. Raises `ValueError` where no temperature between 0.01 and 100 is best: rows
    that are all predicted right have none, and neither have logits that tell nothing.

    Reference: Guo et al. 2017, arXiv:1706.04599.
    """
    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    found = minimize_scalar(
        lambda inverse: loss_at(float(np.exp(-inverse)), logits, references),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-8},
    )
    right = (logits > 0) == (references > 0) if references.ndim == 2 else logits.argmax(1) == references
    if right.all() or min(found.x - low, high - found.x) < 1e-3:
        raise ValueError(
            f"No temperature between {COLDEST:g} and {HOTTEST:g} is best on these {len(logits)} rows, as "
            "where all of them are predicted right: calibrate on more, or harder, validation samples."
        )
    return float(np.exp(-found.x))
