"""Measures of each environment, from logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import EvalPrediction

from .auroc import auroc, classes_present
from .measures import POOLED, over_environments
from .modules.environment_report.environment_inputs import (
    class_ids,
    require_named,
    require_same_length,
)
from .modules.environment_report.environment_measures import (
    by_group,
    by_name,
    environment_measures,
    summarize_environments,
)

EnvironmentReport = dict[str, dict[str, Any]]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of logits [N, C] -> [N, C], in float64."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def environment_report(
    logits: np.ndarray,
    labels: np.ndarray,
    environments: np.ndarray,
    names: Sequence[str],
    label_names: Sequence[str] = (),
) -> EnvironmentReport:
    """The measures of each environment that is present.

    `logits` [N, C]; `labels`, `environments` int [N]; `names`: the environment ids' names; `label_names`:
    those of the classes, if known. An entry has, in 0..1, `accuracy`, `balanced_accuracy` (the mean over
    classes), `macro_f1`, `auroc`, `ece` (expected calibration error), `worst_group` (the accuracy of its
    worst class, `worst_group_label`) and `predicted_share`, the share of predictions of each class; `loss`
    (mean cross-entropy, nats); `count`; and `collapsed_to`, the class, where there are several and only one
    is ever predicted. What is not defined, such as `auroc` where there is one class, is left out.

    Labels that are floats are a regression's: the entries are `squared_error`, its mean for logits [N, 1],
    and `count`. Raises `ValueError` when an environment id has no name, a name
    stands twice, a label is no column of the logits or NaN, or rows are missing on one side.
    """
    require_same_length({"logits": logits, "labels": labels, "environments": environments})
    require_named(environments, len(names))
    if np.issubdtype(labels.dtype, np.floating):
        if np.isnan(labels).any():
            raise ValueError(
                f"{int(np.isnan(labels).sum()):,} of {len(labels):,} labels are NaN (the first in row "
                f"{int(np.isnan(labels).argmax())}): leave out the rows without a label."
            )
        count = np.bincount(environments, minlength=len(names))
        errors = np.bincount(environments, (logits[:, 0] - labels) ** 2, len(names))
        return by_name({"squared_error": errors / np.maximum(count, 1), "count": count}, names)
    number, classes = len(names), logits.shape[1]
    labels = class_ids(labels, "labels", classes)
    predictions = logits.argmax(1)
    measures = _class_measures(log_softmax(logits), predictions, labels, environments, number)
    predicted = np.bincount(environments * classes + predictions, minlength=number * classes)
    measures["predicted_share"] = (
        predicted.reshape(number, classes) / np.maximum(measures["count"], 1)[:, None]
    )
    report = {name: _defined(entry) for name, entry in by_name(measures, names).items()}
    lowest = by_group(predictions, labels, environments, number)[2]
    several = classes_present(labels, environments, number) > 1
    for name, worst, has_several in zip(names, lowest.tolist(), several.tolist(), strict=True):
        if name in report:
            report[name]["worst_group_label"] = _label(worst, label_names)
            shares = report[name]["predicted_share"]
            if has_several and max(shares) == 1:
                report[name]["collapsed_to"] = _label(shares.index(1), label_names)
    return report


def _class_measures(
    log_probabilities: np.ndarray,
    predictions: np.ndarray,
    labels: np.ndarray,
    environments: np.ndarray,
    number: int,
) -> dict[str, np.ndarray]:
    """A classifier's measures of `number` environments, each [E], NaN where one is not defined."""
    measures = environment_measures(predictions, labels, environments, number, log_probabilities)
    return {**measures, "auroc": auroc(log_probabilities, labels, environments, number)}


def _defined(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Without the one measure that may not exist; a loss that is no number has to be seen."""
    return {name: value for name, value in entry.items() if name != "auroc" or value == value}


def _label(number: int, names: Sequence[str]) -> str:
    return names[number] if number < len(names) else str(number)


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
        summary = summarize_environments(report)
        means = {
            over_environments(prefix, measure): value
            for prefix in ("mean", "worst")
            for measure, value in summary[prefix].items()
        }
        own = {
            f"{name}_{kind}": entry[kind]
            for name, entry in report.items()
            for kind in summary["mean"]
            if kind in entry
        }
        pooled = {} if is_regression(report) else _pooled(logits, labels)
        # Last what is over environments: one called "mean" must not choose the checkpoint.
        return {**own, **pooled, **means}


def _pooled(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The measures of all samples together, but for the loss, which `Trainer` has, and for the worst group,
    which is one in an environment."""
    together = np.zeros(len(labels), np.int64)
    measures = _class_measures(log_softmax(logits), logits.argmax(1), labels, together, 1)
    return _defined({name: float(measures[name][0]) for name in POOLED})
