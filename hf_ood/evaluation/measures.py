"""Which way each of the library's measures goes as models get better."""

from __future__ import annotations

# The last words of a metric's name -> whether it rises.
RISES = {
    "accuracy": True,
    "macro_f1": True,
    "r2": True,
    "loss": False,
    "ece": False,
    "error": False,
    "squared_error": False,
    "rmse": False,
    "gap": False,
}


def rises(metric: str) -> bool | None:
    """Whether the metric `eval_validation_mean_accuracy`, or any other name that ends in one of the library's
    measures, rises as models get better; None for a measure that the library does not know."""
    fitting = [measure for measure in RISES if metric == measure or metric.endswith(f"_{measure}")]
    return RISES[max(fitting, key=len)] if fitting else None
