"""Accuracy without labels as the share of samples that the model is sure enough of."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import xlogy

from .calibration import probabilities, temperature

Score = Literal["negative_entropy", "confidence"]


def average_thresholded_confidence(
    logits: np.ndarray, labels: np.ndarray, target: np.ndarray, score: Score = "negative_entropy"
) -> float:
    """The share of the new site's samples, logits `target` [M, C], whose score is above a threshold: the one
    that as many held-out samples of the training environments, logits [N, C] and labels int [N], fall short
    of as are wrong there.

    Scores are of probabilities at the temperature that fits the held-out samples: their negative entropy, or
    the largest of them. Source: Garg et al. 2022, arXiv:2201.04234 (ATC-NE, ATC-MC).
    """
    divided_by = temperature(logits, labels)
    here, there = (np.sort(_scores(probabilities(part, divided_by), score)) for part in (logits, target))
    wrong = int((np.asarray(logits).argmax(1) != labels).sum())
    if wrong == len(here):
        return 0.0
    return float((there >= here[wrong]).mean())


def _scores(found: np.ndarray, score: Score) -> np.ndarray:
    if score == "confidence":
        return found.max(1)
    if score == "negative_entropy":
        return xlogy(found, found).sum(1)
    raise ValueError(f"score must be negative_entropy or confidence, not {score!r}.")
