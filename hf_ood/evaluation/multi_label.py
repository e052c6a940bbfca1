"""Measures of several labels a sample in each environment: means over the labels."""

from __future__ import annotations

import numpy as np

from .auroc import MOST_GROUPS, MOST_SCORES

ALWAYS = ("label_accuracy", "exact_match", "loss")
"""What every environment has; macro F1 and AUROC take labels that occur there."""


def multi_label_measures(
    logits: np.ndarray, labels: np.ndarray, environments: np.ndarray, num_environments: int
) -> dict[str, np.ndarray]:
    """Each [E], NaN where one is not defined; a label is predicted where its logit is positive.

    `logits` float [N, L]; `labels` 0 or 1 [N, L]; `environments` int [N]. `label_accuracy`: share of the N
    times L decisions that are right (1 minus the Hamming loss); `exact_match`: share of samples with all L
    right; `macro_f1`: mean F1 of the labels that some sample of the environment has; `auroc`: mean area under
    the ROC curve of the labels that some sample there has and some has not; `loss`: mean binary
    cross-entropy, nats.
    """
    exact, truth = logits.astype(np.float64), labels > 0.5
    predicted = exact > 0
    count = np.bincount(environments, minlength=num_environments)

    def mean(values: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.bincount(environments, values, num_environments) / count

    right = predicted == truth
    losses = np.logaddexp(0, exact) - exact * labels
    return {
        "label_accuracy": mean(right.mean(1)),
        "exact_match": mean(right.all(1)),
        "macro_f1": _macro_f1(predicted, truth, environments, num_environments),
        "auroc": _auroc(exact, truth, environments, num_environments),
        "loss": mean(losses.mean(1)),
        "count": count,
    }


def has_f1(labels: np.ndarray, environments: np.ndarray, num_environments: int) -> np.ndarray:
    """Whether some label occurs in each environment, which macro F1 takes: bool [E]."""
    occurs: np.ndarray = _sums(labels > 0.5, environments, num_environments).max(1, initial=0) > 0
    return occurs


def has_auroc(labels: np.ndarray, environments: np.ndarray, num_environments: int) -> np.ndarray:
    """Whether each environment has an area under a curve: bool [E].

    It takes a label that some sample has and some has not. Where there are more than `MOST_GROUPS` such
    labels in environments, or more than `MOST_SCORES` scores of them, none has one, as with classes
    (`auroc`).
    """
    varying = _varying(labels > 0.5, environments, num_environments)
    scores = (varying.sum(1) * np.bincount(environments, minlength=num_environments)).sum()
    few = varying.sum() <= MOST_GROUPS and scores <= MOST_SCORES
    exists: np.ndarray = varying.sum(1) > 0
    return exists & few


def label_shares(predicted: np.ndarray, environments: np.ndarray, num_environments: int) -> np.ndarray:
    """Share of an environment's samples that have each label, bool [N, L] -> [E, L]."""
    count = np.bincount(environments, minlength=num_environments)
    return _sums(predicted, environments, num_environments) / np.maximum(count, 1)[:, None]


def _sums(flags: np.ndarray, environments: np.ndarray, num_environments: int) -> np.ndarray:
    found = np.zeros((num_environments, flags.shape[1]))
    np.add.at(found, environments, flags)
    return found


def _varying(truth: np.ndarray, environments: np.ndarray, num_environments: int) -> np.ndarray:
    """Labels that some sample of an environment has and some has not: bool [E, L]."""
    positive = _sums(truth, environments, num_environments)
    return (positive > 0) & (positive < np.bincount(environments, minlength=num_environments)[:, None])


def _macro_f1(
    predicted: np.ndarray, truth: np.ndarray, environments: np.ndarray, num_environments: int
) -> np.ndarray:
    hits, said, actual = (
        _sums(flags, environments, num_environments) for flags in (predicted & truth, predicted, truth)
    )
    scores = 2 * hits / np.maximum(said + actual, 1)
    occurs = actual > 0
    with np.errstate(invalid="ignore"):
        return (scores * occurs).sum(1) / occurs.sum(1)


def _auroc(
    logits: np.ndarray, truth: np.ndarray, environments: np.ndarray, num_environments: int
) -> np.ndarray:
    from sklearn.metrics import roc_auc_score  # seconds to import: not before the first evaluation

    found = np.full(num_environments, np.nan)
    varying = _varying(truth, environments, num_environments)
    for number in np.flatnonzero(has_auroc(truth, environments, num_environments)):
        rows = environments == number
        scores = logits[rows][:, varying[number]]
        if np.isfinite(scores).all():  # the trainer says so, and which rows
            found[number] = roc_auc_score(truth[rows][:, varying[number]], scores)
    return found
