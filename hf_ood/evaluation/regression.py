"""Measures of a regression in each environment."""

from __future__ import annotations

import numpy as np

ALWAYS = ("squared_error", "rmse", "mae")
"""What every environment of a regression has; R2 takes targets that differ."""


def regression_measures(
    values: np.ndarray, targets: np.ndarray, environments: np.ndarray, num_environments: int
) -> dict[str, np.ndarray]:
    """`squared_error` (its mean), `rmse` (its root), `mae`, `r2` and `count`, each [E], NaN where one is not
    defined, as scikit-learn defines them.

    `values`, `targets` float [N], in one unit; `environments` int [N]. `r2` is 1 minus the squared errors
    over those of the environment's own mean: 0 for a model that says that mean everywhere, below for one that
    is worse.
    """

    def mean(numbers: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.bincount(environments, numbers, num_environments) / count

    errors = values.astype(np.float64) - targets
    count = np.bincount(environments, minlength=num_environments)
    squared = mean(errors**2)
    spread = spreads(targets, environments, num_environments)
    r2 = np.full(num_environments, np.nan)
    np.divide(squared, spread, out=r2, where=spread > 0)
    return {"squared_error": squared, "rmse": np.sqrt(squared), "mae": mean(np.abs(errors)), "r2": 1 - r2} | {
        "count": count
    }


def spreads(targets: np.ndarray, environments: np.ndarray, num_environments: int) -> np.ndarray:
    """Variance of the targets, float [N], in each environment -> float64 [E]; 0 without samples."""
    count = np.maximum(np.bincount(environments, minlength=num_environments), 1)
    exact = targets.astype(np.float64)
    means = np.bincount(environments, exact, num_environments) / count
    return np.bincount(environments, (exact - means[environments]) ** 2, num_environments) / count
