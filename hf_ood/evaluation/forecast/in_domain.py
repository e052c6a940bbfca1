"""What is assumed where nothing is known of the new site: what was seen elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .calibration import refuse_nothing


def in_domain_accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy on held-out samples of the training environments, logits [N, C] and labels int [N]: right
    for a new site only if that is like them."""
    refuse_nothing(logits, labels)
    return float((np.asarray(logits).argmax(1) == labels).mean())


def leave_one_out_mean(accuracies: Sequence[float]) -> float:
    """The mean accuracy in environments that were left out in turn (internal-external validation). Raises
    `ValueError` without any."""
    if len(accuracies) == 0:
        raise ValueError("No environment was left out, so there is no mean of them.")
    return float(np.mean(accuracies))
