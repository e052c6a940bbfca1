"""What few labels of the new site add to a forecast from many rows without."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .over_environments import CONFIDENCE, Forecast, interval


@dataclass(frozen=True)
class PredictionPowered:
    """An accuracy, its standard `error`, and the `labels` it rests on. `tuning`: how much the rows without
    labels count, 0 (not at all: the mean of the labelled ones) to 1."""

    value: float
    error: float
    labels: int
    tuning: float


def prediction_powered(
    right: np.ndarray, predicted: np.ndarray, predicted_unlabelled: np.ndarray
) -> PredictionPowered:
    """The accuracy at a site of which n rows have labels and N have none: the mean that is predicted for the
    N, corrected by how far the prediction is off on the n.

    `right`: 0 or 1 of each labelled row [n]; `predicted`: the calibrated confidence in the same rows [n];
    `predicted_unlabelled`: in the others [N]. The prediction counts as much as makes the variance least. The
    variance on the n rows is that of two rows more, a right and a wrong one, so that few rows that are all
    right do not look certain. Raises `ValueError` for fewer than two labels, or no other row.

    Source: Angelopoulos et al. 2023, Prediction-powered inference, arXiv:2301.09633; the tuning is that of
    Angelopoulos, Duchi and Zrnic 2023, PPI++, arXiv:2311.01453.
    """
    n, others = len(right), len(predicted_unlabelled)
    if n < 2 or others < 1 or n != len(predicted):
        raise ValueError(
            f"There are {n} labelled rows with {len(predicted)} predictions, and {others} rows without a "
            "label: at least two of the first are needed, and one of the second."
        )
    every = np.concatenate([predicted, predicted_unlabelled])
    tuning = 0.0
    if every.var() > 0:
        covariance = float(np.cov(right, predicted)[0, 1])
        tuning = float(np.clip(covariance / ((1 + n / others) * every.var()), 0, 1))
    value = float(tuning * predicted_unlabelled.mean() + (right - tuning * predicted).mean())
    rest = np.concatenate([right, [0, 1]]) - tuning * np.append(predicted, [predicted.mean()] * 2)
    variance = rest.var(ddof=1) / n + tuning**2 * predicted_unlabelled.var() / others
    return PredictionPowered(value, math.sqrt(variance), n, tuning)


def with_labels(forecast: Forecast, labelled: PredictionPowered, confidence: float = CONFIDENCE) -> Forecast:
    """The forecast over environments and what the site's own labels say, each weighed by its precision, with
    the smaller of their degrees of freedom; or the labels alone, where their interval is the narrower one.

    Raises `ValueError` for a forecast whose interval assumes no distribution, which has no precision.
    """
    if not forecast.error > 0:
        raise ValueError("Labels are combined with a t-interval over environments: choose that one.")
    precisions = np.array([forecast.error, labelled.error]) ** -2.0
    value = float(precisions @ [forecast.value, labelled.value] / precisions.sum())
    error, freedom = float(precisions.sum() ** -0.5), labelled.labels - 1.0
    both = interval(value, error, min(forecast.freedom, freedom), forecast.n, confidence)
    alone = interval(labelled.value, labelled.error, freedom, forecast.n, confidence)
    return min(both, alone, key=lambda found: found.width)
