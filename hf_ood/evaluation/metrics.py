"""Accuracy, loss, count and predicted classes of each environment, in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import EvalPrediction

EnvironmentReport = dict[str, dict[str, Any]]


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of each sample in nats: [N, C], [N] -> [N], in float64."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]


def environment_report(
    logits: np.ndarray, labels: np.ndarray, environments: np.ndarray, names: Sequence[str]
) -> EnvironmentReport:
    """Accuracy (0..1), loss (mean cross-entropy, nats), count, and the share of predictions of each class
    (`predicted_share`, C numbers that sum to 1), of each environment that is present.

    `logits` [N, C]; `labels`, `environments` int [N]; `names`: the environment ids' names.
    Raises `ValueError` when an environment id has no name.
    """
    if len(environments) and environments.max() >= len(names):
        raise ValueError(f"Environment id {environments.max()} has no name; there are {len(names)}.")
    predictions, classes = logits.argmax(1), logits.shape[1]
    columns = np.stack([predictions == labels, cross_entropy(logits, labels)])
    sums = np.stack([np.bincount(environments, weights=column, minlength=len(names)) for column in columns])
    predicted = np.bincount(environments * classes + predictions, minlength=len(names) * classes)
    return {
        name: {
            "accuracy": correct / sum(by_class),
            "loss": loss / sum(by_class),
            "count": sum(by_class),
            "predicted_share": [number / sum(by_class) for number in by_class],
        }
        for name, (correct, loss), by_class in zip(
            names, sums.T.tolist(), predicted.reshape(len(names), classes).tolist(), strict=True
        )
        if sum(by_class)
    }


def mean_accuracy(report: Mapping[str, Mapping[str, Any]]) -> float:
    """Mean of the environments' accuracies; each environment weighs the same, whatever its size."""
    return float(np.mean([entry["accuracy"] for entry in report.values()]))


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
        metrics = {
            "accuracy": float((logits.argmax(1) == labels).mean()),
            "mean_accuracy": mean_accuracy(report),
            "worst_accuracy": worst_accuracy(report),
        }
        for name, entry in report.items():
            metrics |= {f"{name}_{measure}": entry[measure] for measure in ("accuracy", "loss")}
        return metrics
