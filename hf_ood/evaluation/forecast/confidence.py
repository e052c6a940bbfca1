"""Accuracy without labels from how sure a model is."""

from __future__ import annotations

import numpy as np

from .calibration import probabilities, temperature
from .in_domain import in_domain_accuracy


def calibrated_confidence(logits: np.ndarray, labels: np.ndarray, target: np.ndarray) -> float:
    """The mean confidence on the new site's logits `target` [M, C], at the temperature that fits held-out
    samples of the training environments, logits [N, C] and labels int [N].

    It is the accuracy if the model is as well calibrated there as here. Source: Guo et al. 2017,
    arXiv:1706.04599.
    """
    return float(probabilities(target, temperature(logits, labels)).max(1).mean())


def difference_of_confidences(logits: np.ndarray, labels: np.ndarray, target: np.ndarray) -> float:
    """The accuracy on held-out samples of the training environments, logits [N, C] and labels int [N], less
    what the mean confidence falls by on the new site's logits `target` [M, C]; within 0..1.

    Confidences are those of the model as it is. Source: Guillory et al. 2021, arXiv:2107.03315 (DoC).
    """
    fall = float(probabilities(logits).max(1).mean() - probabilities(target).max(1).mean())
    return float(np.clip(in_domain_accuracy(logits, labels) - fall, 0, 1))
