"""Results per environment."""

from .metrics import EnvironmentMetrics, environment_report, mean_accuracy, worst_accuracy
from .results import load_results, save_results, summarize

__all__ = [
    "EnvironmentMetrics",
    "environment_report",
    "load_results",
    "mean_accuracy",
    "save_results",
    "summarize",
    "worst_accuracy",
]
