"""Accuracy, also by group, macro-F1, calibration and likelihood of each environment, in numpy alone.

This file travels with the `evaluate` module beside it, so it imports nothing from `hf_ood`; `hf_ood` imports
it. Throughout: `predictions`, `references`, `environments` int [N], the last with ids in 0..E-1. No cost
depends on E but that of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .environment_inputs import require_distinct

BINS = 15
MIN_COUNT = 30
# What a report may have of an environment, in the order in which summaries show it.
MEASURES = (
    "accuracy",
    "balanced_accuracy",
    "label_accuracy",
    "exact_match",
    "macro_f1",
    "auroc",
    "worst_group",
    "loss",
    "ece",
    "squared_error",
    "rmse",
    "mae",
    "r2",
)
LOWER_IS_BETTER = ("loss", "ece", "squared_error", "rmse", "mae")


def environment_measures(
    predictions: np.ndarray,
    references: np.ndarray,
    environments: np.ndarray,
    num_environments: int,
    log_probabilities: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """`accuracy`, `balanced_accuracy`, `macro_f1`, `worst_group`, `count`, each [E]; with `log_probabilities`
    [N, C] `loss` and `ece` too.

    A group is a class in an environment: `balanced_accuracy` is the mean of an environment's group
    accuracies, `worst_group` the lowest. `loss`: mean negative log-likelihood of the reference, in nats.
    `ece`: see `calibration_bins`. An environment without samples has count 0 and NaN elsewhere.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.bincount(environments, values, num_environments) / count

    count = np.bincount(environments, minlength=num_environments)
    balanced, worst, _ = by_group(predictions, references, environments, num_environments)
    measures = {
        "accuracy": mean(predictions == references),
        "balanced_accuracy": balanced,
        "macro_f1": macro_f1(predictions, references, environments, num_environments),
        "worst_group": worst,
    }
    if log_probabilities is not None:
        rows = np.arange(len(references))
        measures["loss"] = mean(-log_probabilities[rows, references])
        confidences = np.exp(log_probabilities[rows, predictions])
        _, right, confident = calibration_bins(
            confidences, predictions == references, environments, num_environments
        )
        with np.errstate(invalid="ignore"):
            measures["ece"] = np.abs(right - confident).sum(1) / count
    return measures | {"count": count}


def by_group(
    predictions: np.ndarray, references: np.ndarray, environments: np.ndarray, num_environments: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and lowest accuracy over the classes of each environment, and the class of the lowest: three
    arrays [E], NaN (the class -1) without samples."""
    classes = 1 + references.max(initial=0)
    groups, position = np.unique(environments * classes + references, return_inverse=True)
    accuracies = np.bincount(position, predictions == references, len(groups)) / np.bincount(
        position, minlength=len(groups)
    )
    owners = groups // classes
    with np.errstate(invalid="ignore"):
        mean = np.bincount(owners, accuracies, num_environments) / np.bincount(
            owners, minlength=num_environments
        )
    worst, lowest = np.full(num_environments, np.nan), np.full(num_environments, -1)
    falling = np.argsort(-accuracies, kind="stable")  # of several assignments the last, the lowest, stays
    worst[owners[falling]], lowest[owners[falling]] = accuracies[falling], (groups % classes)[falling]
    return mean, worst, lowest


def macro_f1(
    predictions: np.ndarray, references: np.ndarray, environments: np.ndarray, num_environments: int
) -> np.ndarray:
    """Mean over classes of `2 TP / (predicted + actual)` in each environment -> [E], NaN without samples.

    The classes of an environment are those that occur there, as reference or as prediction.
    """
    classes = 1 + max(predictions.max(initial=0), references.max(initial=0))
    keys = np.concatenate([environments * classes + predictions, environments * classes + references])
    cells, position = np.unique(keys, return_inverse=True)  # only the (environment, class) pairs there are
    hits = np.bincount(position[: len(predictions)], predictions == references, len(cells))
    scores = 2 * hits / np.bincount(position, minlength=len(cells))
    owners = cells // classes
    with np.errstate(invalid="ignore"):
        return np.bincount(owners, scores, num_environments) / np.bincount(owners, minlength=num_environments)


def calibration_bins(
    confidences: np.ndarray, correct: np.ndarray, environments: np.ndarray, num_environments: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, number correct and sum of confidences in 15 equal bins of confidence -> three arrays [E, 15].

    Bin m holds confidences in (m / 15, (m + 1) / 15]. The expected calibration error of an environment is
    `sum_m |correct_m - confidence_m| / count` (Guo et al. 2017, arXiv:1706.04599, equation 3).
    """
    bins = np.clip(np.ceil(confidences * BINS).astype(np.int64) - 1, 0, BINS - 1)
    keys = environments * BINS + bins
    count, right, confident = (
        np.bincount(keys, values, num_environments * BINS).reshape(num_environments, BINS)
        for values in (np.ones(len(keys)), correct, confidences)
    )
    return count, right, confident


def by_name(measures: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Arrays over environments -> one entry for each environment that is present, in the order of `names`.

    Raises `ValueError` when a name stands twice."""
    require_distinct(names)
    columns = [values.tolist() for values in measures.values()]
    return {
        name: entry
        for name, *values in zip(names, *columns, strict=True)
        if (entry := dict(zip(measures, values, strict=True)))["count"]
    }


def summarize_environments(
    report: Mapping[str, Mapping[str, Any]], min_count: int = MIN_COUNT
) -> dict[str, Any]:
    """Mean, worst and gap (best to worst) of every measure over the environments, and those too small to
    trust.

    Environments weigh the same. `count` is the number of samples; `small_environments` have fewer than
    `min_count`. `undefined` names the environments that a measure leaves out, because it does not exist
    there; it is missing where there are none. Raises `ValueError` without environments.
    """
    if not report:
        raise ValueError("There is no sample, so no environment to summarise.")
    columns = {
        name: np.array([entry[name] for entry in report.values() if name in entry])
        for name in MEASURES
        if any(name in entry for entry in report.values())
    }
    undefined = {name: [place for place, entry in report.items() if name not in entry] for name in columns}
    left_out = {name: places for name, places in undefined.items() if places}
    return {
        "mean": {name: float(values.mean()) for name, values in columns.items()},
        "worst": {
            name: float(values.max() if name in LOWER_IS_BETTER else values.min())
            for name, values in columns.items()
        },
        "gap": {name: float(np.ptp(values)) for name, values in columns.items()},
        "count": sum(entry["count"] for entry in report.values()),
        "small_environments": [name for name, entry in report.items() if entry["count"] < min_count],
        **({"undefined": left_out} if left_out else {}),
    }
