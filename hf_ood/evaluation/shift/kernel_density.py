"""The shifts by kernel densities, as OoD-Bench estimates them, with thresholds that are always calibrated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from .estimate import Estimate
from .sample import Sample

TOLERATED = 0.01  # what a sample without shift may read
RESPLITS = 10
RESAMPLES = 20
TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True)
class KernelDensity:
    """Diversity where one density is missing, correlation where both are there (Ye et al. 2022, section 3).

    D_div = 1/2 E_m[|p - q| / m; p < e or q < e] and D_cor = sum_y p(y) 1/2 E_m[|p(z|y) sqrt(q/p) -
    q(z|y) sqrt(p/q)| / m; p > e' and q > e'], with train density p, test density q and `points` drawn from
    m = (p + q) / 2 (the paper draws from a density of both splits together, which estimates the same
    integrals with more noise). Which densities count as missing decides everything, so the thresholds e and
    e' are not given but found: such that the sample, shuffled so that there is no shift, reads 0.01 or less.

    The values depend on the features' dimension, and are low where it is high: compare them with the paper's,
    not with those of `ClassifierPlugIn`.
    """

    measures: ClassVar[tuple[str, ...]] = ("diversity", "correlation")
    points: int = 2000
    seed: int = 0
    diversity_threshold: float = 0.0
    correlation_threshold: float = 0.0

    @property
    def least_rows(self) -> int:
        return 10

    def prepare(self, sample: Sample) -> KernelDensity:
        """With thresholds at which `sample` without its shift reads `TOLERATED` at most."""
        rng = np.random.default_rng(self.seed)
        found = [self._integrands(sample.exchanged(rng)) for _ in range(RESPLITS)]
        rarer, diversity, correlation = (np.concatenate(column) for column in zip(*found, strict=True))
        ascending = np.argsort(rarer)
        return replace(
            self,
            diversity_threshold=_last_tolerated(rarer, diversity, ascending, default=float(rarer.max()) * 2),
            correlation_threshold=_last_tolerated(rarer, correlation, ascending[::-1], default=0.0),
        )

    def estimate(self, sample: Sample) -> Estimate:
        rarer, diversity, correlation = self._integrands(sample)
        terms = np.stack(
            [
                np.where(rarer < self.diversity_threshold, diversity, 0),
                np.where(rarer > self.correlation_threshold, correlation, 0),
            ],
            axis=1,
        )
        thresholds = {
            "diversity_threshold": self.diversity_threshold,
            "correlation_threshold": self.correlation_threshold,
        }
        return Estimate(terms, thresholds)

    def interval(
        self, sample: Sample, estimate: Estimate, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """95 % interval [2], [2]: the spread of the values over resampled rows, around the estimate, because
        repeated rows bias the values themselves."""
        values = [self.estimate(sample.resampled(rng)).values for _ in range(RESAMPLES)]
        half_width = 1.96 * np.std(values, axis=0, ddof=1)
        return np.maximum(estimate.values - half_width, 0), estimate.values + half_width

    def _integrands(self, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At each point [M]: the smaller density, and what it adds to D_div and D_cor if it counts."""
        from scipy.stats import gaussian_kde

        try:
            densities = [gaussian_kde(sample.features[sample.splits == split].T) for split in (0, 1)]
            points = np.concatenate(
                [
                    density.resample(self.points // 2, seed=self.seed + split)
                    for split, density in enumerate(densities)
                ],
                axis=1,
            )
            train, test = (density(points) for density in densities)
            mixture = (train + test) / 2
            ratio = np.sqrt(np.maximum(test, TINY) / np.maximum(train, TINY))
            correlation = np.zeros(points.shape[1])
            for label in range(sample.num_classes):
                members = sample.labels == label
                of_train, of_test = (
                    gaussian_kde(sample.features[members & (sample.splits == split)].T)(points)
                    for split in (0, 1)
                )
                correlation += members.mean() * np.abs(of_train * ratio - of_test / ratio) / mixture / 2
        except np.linalg.LinAlgError as error:
            raise ValueError(
                "The features of a class do not spread in all directions, so they have no kernel density: "
                "take fewer components, or estimator='classifier'."
            ) from error
        return np.minimum(train, test), np.abs(train - test) / mixture / 2, correlation


def _last_tolerated(rarer: np.ndarray, terms: np.ndarray, order: np.ndarray, default: float) -> float:
    """The threshold up to which points, taken in `order`, add no more than `TOLERATED` to the mean."""
    beyond = np.cumsum(terms[order]) / len(terms) > TOLERATED
    return float(rarer[order[beyond.argmax()]]) if beyond.any() else default
