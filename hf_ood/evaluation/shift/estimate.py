"""What an estimator of shifts can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .sample import Sample


@dataclass(frozen=True)
class Estimate:
    """`terms`: float [M, number of measures], whose means are the measures. `diagnostics`: what else was
    found on the way."""

    terms: np.ndarray
    diagnostics: Mapping[str, float]

    @property
    def values(self) -> np.ndarray:
        return self.terms.mean(0)


class Estimator(Protocol):
    """`measures`: names of what it estimates, `diversity` and `correlation` among them."""

    @property
    def measures(self) -> tuple[str, ...]: ...

    @property
    def least_rows(self) -> int:
        """Rows of each class that it needs in either split."""
        ...

    def prepare(self, sample: Sample) -> Any:
        """The estimator as it is to be used on this sample: calibrated, if it needs that."""
        ...

    def estimate(self, sample: Sample) -> Estimate: ...

    def interval(
        self, sample: Sample, estimate: Estimate, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Low and high end of each measure's 95 % interval."""
        ...
