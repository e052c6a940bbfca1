"""Area under the ROC curve of each environment, by scikit-learn."""

from __future__ import annotations

import numpy as np

# An evaluation shall not take seconds longer for its curves: one takes scikit-learn about two milliseconds,
# and about a microsecond for each sample.
MOST_GROUPS = 500  # classes in environments, in all
MOST_SCORES = 1_000_000  # samples times classes, over the environments


def classes_present(labels: np.ndarray, environments: np.ndarray, num_environments: int) -> np.ndarray:
    """How many classes occur in each environment: int [E], from labels and environments int [N]."""
    classes = 1 + labels.max(initial=0)
    groups = np.unique(environments * classes + labels)
    return np.bincount(groups // classes, minlength=num_environments)


def auroc_is_defined(labels: np.ndarray, environments: np.ndarray, num_environments: int) -> np.ndarray:
    """Whether each environment has an area under a curve: bool [E], from labels and environments int [N].

    It takes two classes. Where there are more than `MOST_GROUPS` groups (classes in environments), or more
    than `MOST_SCORES` samples times classes, none has one: an evaluation would spend seconds on them.
    """
    present = classes_present(labels, environments, num_environments)
    scores = (present * np.bincount(environments, minlength=num_environments)).sum()
    return (present > 1) & (present.sum() <= MOST_GROUPS) & (scores <= MOST_SCORES)


def auroc(
    log_probabilities: np.ndarray, labels: np.ndarray, environments: np.ndarray, num_environments: int
) -> np.ndarray:
    """Area under the ROC curve in each environment -> float [E], NaN where it is not defined or not all
    probabilities are finite.

    `log_probabilities` [N, C]; `labels`, `environments` int [N]. Of two classes it is that of the second; of
    several the mean over the classes that occur in the environment, each against the rest (macro
    one-vs-rest), so that a class without samples there neither counts nor makes it undefined.
    """
    from sklearn.metrics import roc_auc_score  # seconds to import: not before the first evaluation

    found = np.full(num_environments, np.nan)
    order = np.argsort(environments, kind="stable")
    ends = np.cumsum(np.bincount(environments, minlength=num_environments))
    for number in np.flatnonzero(auroc_is_defined(labels, environments, num_environments)):
        rows = order[ends[number - 1] if number else 0 : ends[number]]
        own, scores = labels[rows], np.exp(log_probabilities[rows])
        if not np.isfinite(scores).all():  # the trainer says so, and which rows
            continue
        if scores.shape[1] == 2:
            found[number] = roc_auc_score(own == 1, scores[:, 1])
        else:
            present = np.unique(own)
            found[number] = roc_auc_score(own[:, None] == present, scores[:, present])
    return found
