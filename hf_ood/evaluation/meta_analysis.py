"""Accuracies of several environments as a random-effects meta-analysis: their mean, how much they differ, and
where the next environment's will lie.

summary = meta_analysis(right=[180, 90, 66], counts=[200, 120, 70])
summary.mean, summary.prediction    # 0.877, (0.116, 0.997)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, expit, stdtrit

CONFIDENCE = 0.95
CORRECTION = 0.5  # added to right and wrong of an environment where either is 0
TOLERANCE, MOST_STEPS = 1e-14, 10_000


@dataclass(frozen=True)
class MetaAnalysis:
    """What `meta_analysis` found of k environments.

    `mean` and its `interval`, and `prediction`, where the true share of one more environment lies, are shares
    in 0..1. `logit_mean`, `logit_error` (standard error) and `tau_squared`, the variance between
    environments, are on the logit scale. `i_squared`, 0..100: how much of the spread is between environments
    and not of their samples. `q`, `q_p_value`: Cochran's test that the environments do not differ.
    """

    k: int
    mean: float
    interval: tuple[float, float]
    prediction: tuple[float, float]
    logit_mean: float
    logit_error: float
    tau_squared: float
    i_squared: float
    q: float
    q_p_value: float


def logits_of_shares(right: Sequence[int], counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Logits of `right / counts` and their sampling variances, each [k]; an environment that is all right or
    all wrong has half a sample more of either."""
    hits = np.asarray(right, dtype=float)
    samples = np.asarray(counts, dtype=float)
    if hits.shape != samples.shape or hits.ndim != 1:
        raise ValueError("right and counts must be of the same environments, one number each.")
    misses = samples - hits
    if (hits < 0).any() or (misses < 0).any() or (hits + misses == 0).any():
        raise ValueError("Every environment needs samples, of which between none and all are right.")
    corrected = CORRECTION * ((hits == 0) | (misses == 0))
    hits, misses = hits + corrected, misses + corrected
    return np.log(hits / misses), 1 / hits + 1 / misses


def meta_analysis(
    right: Sequence[int], counts: Sequence[int], confidence: float = CONFIDENCE
) -> MetaAnalysis:
    """Random effects on the logit scale: environments' shares `right / counts`, each int [k].

    The variance between environments is estimated by restricted maximum likelihood (REML, by Fisher scoring,
    Viechtbauer 2005); interval and test are those of Knapp and Hartung 2003, with k - 1 degrees of freedom;
    the prediction interval adds that variance to the mean's (Higgins, Thompson and Spiegelhalter 2009). The
    numbers are those of R's metafor 3.8: `predict(rma(yi, vi, method="REML", test="knha"))` of
    `escalc(measure="PLO")`.

    Raises `ValueError` for fewer than two environments, and for counts that are none.
    """
    logits, variances = logits_of_shares(right, counts)
    k = len(logits)
    if k < 2:
        raise ValueError(f"A meta-analysis needs at least two environments, not {k}.")
    tau_squared = reml(logits, variances)
    weights = 1 / (variances + tau_squared)
    mean = float((weights * logits).sum() / weights.sum())
    spread = float((weights * (logits - mean) ** 2).sum() / (k - 1))
    error = math.sqrt(spread / weights.sum())
    quantile = float(stdtrit(k - 1, (1 + confidence) / 2))
    sampling = 1 / variances
    fixed = float((sampling * logits).sum() / sampling.sum())
    q = float((sampling * (logits - fixed) ** 2).sum())
    typical = (k - 1) / float(sampling.sum() - (sampling**2).sum() / sampling.sum())
    return MetaAnalysis(
        k=k,
        mean=float(expit(mean)),
        interval=_shares(mean, quantile * error),
        prediction=_shares(mean, quantile * math.sqrt(error**2 + tau_squared)),
        logit_mean=mean,
        logit_error=error,
        tau_squared=tau_squared,
        i_squared=100 * tau_squared / (typical + tau_squared),
        q=q,
        q_p_value=float(chdtrc(k - 1, q)),
    )


def reml(values: np.ndarray, variances: np.ndarray) -> float:
    """The restricted maximum likelihood estimate of the variance between values [k] whose own sampling
    variances [k] are known.

    Raises `ValueError` where the likelihood has no maximum that Fisher scoring finds.
    """
    estimate = max(0.0, float(values.var(ddof=1) - variances.mean()))  # Hedges and Olkin, to begin with
    for _ in range(MOST_STEPS):
        weights = 1 / (variances + estimate)
        total, squares, cubes = weights.sum(), (weights**2).sum(), (weights**3).sum()
        mean = (weights * values).sum() / total
        score = (weights**2 * (values - mean) ** 2).sum() - (total - squares / total)
        information = squares - 2 * cubes / total + (squares / total) ** 2
        step = max(-estimate, float(score / information))
        estimate += step
        if abs(step) <= TOLERANCE * max(1.0, estimate):
            return estimate
    raise ValueError(
        "The variance between the environments could not be estimated: their shares are too extreme for "
        "their numbers of samples."
    )


def _shares(centre: float, half_width: float) -> tuple[float, float]:
    return float(expit(centre - half_width)), float(expit(centre + half_width))
