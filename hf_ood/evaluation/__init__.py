"""Results per environment."""

from .confusion import confusion_matrices
from .metrics import EnvironmentMetrics, environment_report, mean_accuracy, worst_accuracy
from .modules.environment_report.environment_measures import summarize_environments
from .results import load_results, save_results, summarize

__all__ = [
    "EnvironmentMetrics",
    "confusion_matrices",
    "environment_report",
    "load_results",
    "mean_accuracy",
    "save_results",
    "summarize",
    "summarize_environments",
    "worst_accuracy",
]
