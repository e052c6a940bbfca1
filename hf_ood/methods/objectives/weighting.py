"""What counts the same in a mean: every sample, or every environment."""

from __future__ import annotations

from torch import Tensor

from .base import Sums
from .functional import mean_of_means

SAMPLES, ENVIRONMENTS = WEIGHTINGS = ("samples", "environments")


def weighted_mean(totals: Sums, name: str, weighting: str) -> Tensor:
    """The mean of what the totals hold under `name`, sums [E] -> []: over all samples, or over environments
    of the mean in each. Linear in these sums, given the counts.
    """
    sums, counts = totals[name], totals["count"]
    if weighting == SAMPLES:
        return sums.sum() / counts.sum().clamp_min(1)
    return mean_of_means(sums, counts)


def check_weighting(option: str, weighting: str) -> None:
    """Raises `ValueError` for what is none of `WEIGHTINGS`."""
    if weighting not in WEIGHTINGS:
        raise ValueError(f"{option} must be one of {', '.join(WEIGHTINGS)}, not {weighting!r}.")
