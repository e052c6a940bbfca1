"""Measures other than accuracy, expected from calibrated probabilities."""

from __future__ import annotations

import numpy as np


def expected_measures(probabilities: np.ndarray) -> dict[str, float]:
    """`accuracy`, `macro_f1` and `worst_group` of samples without labels, if their probabilities [N, C] are
    true.

    Counts of right, predicted and actual samples of each class are replaced by what is expected of them;
    classes of which less than one sample is expected and none predicted are left out, as an evaluation
    leaves out those that do not occur. The worst group is the class with the lowest expected share of right
    samples; chance makes the one that is seen lower still.
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    right = np.bincount(predicted, probabilities.max(1), classes)
    of_prediction, actual = np.bincount(predicted, minlength=classes), probabilities.sum(0)
    there = (of_prediction > 0) | (actual >= 1)
    f1 = 2 * right[there] / (of_prediction + actual)[there]
    groups = actual >= min(1.0, actual.max())
    return {
        "accuracy": float(right.sum() / len(predicted)),
        "macro_f1": float(f1.mean()),
        "worst_group": float((right[groups] / actual[groups]).min()),
    }
