"""The library's measures: which way each goes as models get better, and the names that they have in
evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..data.targets import CLASSIFICATION, MULTI_LABEL, REGRESSION

# The last words of a metric's name -> whether it rises.
RISES = {
    "accuracy": True,
    "balanced_accuracy": True,
    "label_accuracy": True,
    "exact_match": True,
    "macro_f1": True,
    "auroc": True,
    "worst_group": True,
    "r2": True,
    "loss": False,
    "ece": False,
    "error": False,
    "squared_error": False,
    "rmse": False,
    "mae": False,
    "gap": False,
}
CLASSES = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "worst_group", "loss", "ece")
"""What an evaluation has of each environment with classes."""
REGRESSION_MEASURES = ("squared_error", "rmse", "mae", "r2")
"""What it has of each environment of a regression."""
MULTI_LABEL_MEASURES = ("label_accuracy", "exact_match", "macro_f1", "auroc", "loss")
"""What it has of each environment where samples have several labels."""
HEADLINES = {CLASSIFICATION: "accuracy", MULTI_LABEL: "macro_f1", REGRESSION: "rmse"}
"""The measure that stands for a task: in curves, in tables, where environments are ranked."""
POOLED = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "ece")
"""What it has of all samples together, beside the loss."""


def measure_of(metric: str) -> str | None:
    """The measure that a metric's name ends in; None where it is none of the library's."""
    fitting = [measure for measure in RISES if metric == measure or metric.endswith(f"_{measure}")]
    return max(fitting, key=len, default=None)


def rises(metric: str) -> bool | None:
    """Whether the metric `eval_validation_mean_accuracy`, or any other name that ends in one of the library's
    measures, rises as models get better; None for a measure that the library does not know."""
    measure = measure_of(metric)
    return None if measure is None else RISES[measure]


def over_environments(prefix: str, measure: str) -> str:
    """The name of a measure's `mean` or `worst` over environments; the worst of the worst groups is the worst
    group."""
    return measure if (prefix, measure) == ("worst", "worst_group") else f"{prefix}_{measure}"


def metric_names(by_environment: Mapping[str, Iterable[str]], pooled: Iterable[str]) -> list[str]:
    """The names of an evaluation's metrics: of each measure the one over all samples, mean and worst over
    environments, and that of each environment.

    `by_environment`: the measures that each environment has; `pooled`: those of all samples taken together.
    """
    present = dict.fromkeys(measure for measures in by_environment.values() for measure in measures)
    means = [over_environments(prefix, measure) for prefix in ("mean", "worst") for measure in present]
    own = [f"{place}_{measure}" for place, measures in by_environment.items() for measure in measures]
    return list(dict.fromkeys([*means, *pooled, *own]))
