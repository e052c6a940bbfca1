"""Measures of each environment, from logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import EvalPrediction

from .modules.environment_report.environment_measures import by_name, environment_measures

EnvironmentReport = dict[str, dict[str, Any]]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of logits [N, C] -> [N, C], in float64."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def environment_report(
    logits: np.ndarray, labels: np.ndarray, environments: np.ndarray, names: Sequence[str]
) -> EnvironmentReport:
    """Accuracy and macro-F1 (0..1), loss (mean cross-entropy, nats), expected calibration error, count, and
    the share of predictions of each class (`predicted_share`, C numbers that sum to 1) of each environment
    that is present.

    `logits` [N, C]; `labels`, `environments` int [N]; `names`: the environment ids' names. Labels that are
    floats are a regression's: the entries are `squared_error`, its mean for logits [N, 1], and `count`.
    Raises `ValueError` when an environment id has no name.
    """
    if len(environments) and environments.max() >= len(names):
        raise ValueError(f"Environment id {environments.max()} has no name; there are {len(names)}.")
    if np.issubdtype(labels.dtype, np.floating):
        count = np.bincount(environments, minlength=len(names))
        errors = np.bincount(environments, (logits[:, 0] - labels) ** 2, len(names))
        return by_name({"squared_error": errors / np.maximum(count, 1), "count": count}, names)
    predictions, size = logits.argmax(1), (len(names), logits.shape[1])
    measures = environment_measures(
        predictions, labels, environments, len(names), log_probabilities=log_softmax(logits)
    )
    predicted = np.bincount(environments * size[1] + predictions, minlength=size[0] * size[1]).reshape(size)
    measures["predicted_share"] = predicted / np.maximum(measures["count"], 1)[:, None]
    return by_name(measures, names)


def mean_accuracy(report: Mapping[str, Mapping[str, Any]]) -> float:
    """Mean of the environments' accuracies; each environment weighs the same, whatever its size."""
    return float(np.mean([entry["accuracy"] for entry in report.values()]))


def is_regression(report: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the report has squared errors in place of accuracies."""
    return any("squared_error" in entry for entry in report.values())


def mean_measure(report: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """`mean_accuracy`, or the `mean_squared_error` of a regression: the mean over environments."""
    if is_regression(report):
        return {"mean_squared_error": float(np.mean([entry["squared_error"] for entry in report.values()]))}
    return {"mean_accuracy": mean_accuracy(report)}


def worst_accuracy(report: Mapping[str, Mapping[str, Any]]) -> float:
    """The lowest of the environments' accuracies."""
    return min(entry["accuracy"] for entry in report.values())


class EnvironmentMetrics:
    """A `compute_metrics` for `Trainer` whose label ids are (labels, environments)."""

    def __init__(self, environment_names: Sequence[str]):
        self.environment_names = environment_names

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        logits = (
            prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
        )
        labels, environments = prediction.label_ids  # type: ignore[misc]
        report = environment_report(logits, labels, environments, self.environment_names)
        if is_regression(report):
            errors = {f"{name}_squared_error": entry["squared_error"] for name, entry in report.items()}
            return mean_measure(report) | errors
        metrics = {
            "accuracy": float((logits.argmax(1) == labels).mean()),
            "mean_accuracy": mean_accuracy(report),
            "worst_accuracy": worst_accuracy(report),
        }
        own = {
            f"{name}_{kind}": entry[kind] for name, entry in report.items() for kind in ("accuracy", "loss")
        }
        return {**metrics, **own, **metrics}  # an environment called "mean" must not choose the checkpoint
