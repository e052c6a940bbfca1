"""Logits made into probabilities that mean what they say on samples with labels."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from ..calibration import fit_temperature


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number that logits [N, C] are divided by for the lowest cross-entropy on labels int [N]
    (`fit_temperature`); 1 where none is best, as where every sample is predicted right."""
    refuse_nothing(logits, labels)
    try:
        return fit_temperature(logits, labels)
    except ValueError:
        return 1.0


def probabilities(logits: np.ndarray, divided_by: float = 1.0) -> np.ndarray:
    """Logits [N, C] as probabilities float64 [N, C], at a temperature."""
    return softmax(np.asarray(logits, dtype=np.float64) / divided_by, axis=1)


def refuse_nothing(logits: np.ndarray, labels: np.ndarray) -> None:
    """Raise `ValueError` without samples, and for another number of labels than of logits."""
    if len(logits) == 0 or len(logits) != len(labels):
        raise ValueError(
            f"There are {len(logits)} rows of logits and {len(labels)} labels: one each, at least one."
        )
