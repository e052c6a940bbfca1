"""Accuracy, loss and count of each environment, in numpy."""

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
    """Accuracy (0..1), loss (mean cross-entropy, nats) and count of each environment that is present.

    `logits` [N, C]; `labels`, `environments` int [N]; `names`: the environment ids' names.
    Raises `ValueError` when an environment id has no name.
    """
    if len(environments) and environments.max() >= len(names):
        raise ValueError(f"Environment id {environments.max()} has no name; there are {len(names)}.")
    columns = np.stack([np.ones(len(labels)), logits.argmax(1) == labels, cross_entropy(logits, labels)])
    sums = np.stack([np.bincount(environments, weights=column, minlength=len(names)) for column in columns])
    return {
        name: {"accuracy": correct / count, "loss": loss / count, "count": int(count)}
        for name, (count, correct, loss) in zip(names, sums.T.tolist(), strict=True)
        if count
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
