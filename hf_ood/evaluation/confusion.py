"""Which class is taken for which."""

from __future__ import annotations

import numpy as np


def confusion_matrices(
    predictions: np.ndarray,
    references: np.ndarray,
    environments: np.ndarray,
    num_environments: int,
    num_classes: int,
) -> np.ndarray:
    """Number of samples of each environment, true class and predicted class: int [N] thrice -> [E, C, C]."""
    shape = (num_environments, num_classes, num_classes)
    keys = np.ravel_multi_index((environments, references, predictions), shape)
    return np.bincount(keys, minlength=int(np.prod(shape))).reshape(shape)
