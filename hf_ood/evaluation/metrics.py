"""Measures of each environment, from logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import EvalPrediction

from ..data.targets import CLASSIFICATION, MULTI_LABEL, REGRESSION
from .auroc import auroc, classes_present
from .measures import HEADLINES, POOLED, over_environments, rises
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
from .multi_label import label_shares, multi_label_measures
from .regression import regression_measures

EnvironmentReport = dict[str, dict[str, Any]]
MAY_LACK = ("auroc", "macro_f1", "r2")  # where classes, labels or targets do not differ


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

    Labels that are floats [N] are a regression's, of logits [N, 1]: see `regression_measures` for the
    entries. Those that are floats [N, L] tell by 0 and 1 which labels a sample has: see
    `multi_label_measures`. Raises `ValueError` when an environment id has no name, a name stands twice, a
    label is no column of the logits or NaN, or rows are missing on one side.
    """
    require_same_length({"logits": logits, "labels": labels, "environments": environments})
    require_named(environments, len(names))
    if np.issubdtype(labels.dtype, np.floating) and np.isnan(labels).any():
        wrong = np.isnan(labels).reshape(len(labels), -1).any(1)
        raise ValueError(
            f"{int(wrong.sum()):,} of {len(labels):,} labels are NaN (the first in row {int(wrong.argmax())}"
            "): leave out the rows without a label."
        )
    number, classes = len(names), logits.shape[1]
    if labels.ndim == 2:
        found = multi_label_measures(logits, labels, environments, number)
        found["predicted_share"] = label_shares(logits > 0, environments, number)
        return {name: _defined(entry) for name, entry in by_name(found, names).items()}
    if np.issubdtype(labels.dtype, np.floating):
        found = regression_measures(logits[:, 0], labels, environments, number)
        return {name: _defined(entry) for name, entry in by_name(found, names).items()}
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
    """Without the measures that may not exist; a loss that is no number has to be seen."""
    return {name: value for name, value in entry.items() if name not in MAY_LACK or value == value}


def _label(number: int, names: Sequence[str]) -> str:
    return names[number] if number < len(names) else str(number)


def mean_accuracy(report: Mapping[str, Mapping[str, Any]]) -> float:
    """Mean of the environments' accuracies; each environment weighs the same, whatever its size."""
    return float(np.mean([entry["accuracy"] for entry in report.values()]))


def task_of_report(report: Mapping[str, Mapping[str, Any]]) -> str:
    """Which task the measures of a report are of."""
    if any("squared_error" in entry for entry in report.values()):
        return REGRESSION
    return MULTI_LABEL if any("exact_match" in entry for entry in report.values()) else CLASSIFICATION


def is_regression(report: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the report has squared errors in place of accuracies."""
    return task_of_report(report) == REGRESSION


def headline(report: Mapping[str, Mapping[str, Any]]) -> str:
    """The measure that stands for the report: `accuracy`, `macro_f1` of several labels, a regression's
    `rmse`."""
    return HEADLINES[task_of_report(report)]


def mean_measure(report: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """What chooses: the mean over environments of the accuracy (`mean_accuracy`), of macro F1 where samples
    have several labels (None where no environment has one), of the squared error of a regression."""
    task = task_of_report(report)
    measure = "squared_error" if task == REGRESSION else HEADLINES[task]
    return {f"mean_{measure}": over(report, measure)["mean"]}


def over(report: Mapping[str, Mapping[str, Any]], measure: str) -> dict[str, float | None]:
    """`mean` and `worst` of a measure over the environments that have it; None where none has."""
    found = [entry[measure] for entry in report.values() if measure in entry]
    if not found:
        return {"mean": None, "worst": None}
    return {"mean": float(np.mean(found)), "worst": min(found) if rises(measure) else max(found)}


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
        pooled = _pooled(logits, labels) if task_of_report(report) == CLASSIFICATION else {}
        # Last what is over environments: one called "mean" must not choose the checkpoint.
        return {**own, **pooled, **means}


def _pooled(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The measures of all samples together, but for the loss, which `Trainer` has, and for the worst group,
    which is one in an environment."""
    together = np.zeros(len(labels), np.int64)
    measures = _class_measures(log_softmax(logits), logits.argmax(1), labels, together, 1)
    return _defined({name: float(measures[name][0]) for name in POOLED})
