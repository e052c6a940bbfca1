"""Results per environment."""

from .comparison import Comparison, compare
from .confusion import confusion_matrices
from .locate import module
from .metrics import EnvironmentMetrics, environment_report, mean_accuracy, worst_accuracy
from .modules.environment_report.environment_measures import summarize_environments
from .results import load_results, save_results, summarize
from .shift import Shift, measure_environment_shifts, measure_shift

__all__ = [
    "Comparison",
    "EnvironmentMetrics",
    "Shift",
    "compare",
    "confusion_matrices",
    "environment_report",
    "load_results",
    "mean_accuracy",
    "measure_environment_shifts",
    "measure_shift",
    "module",
    "save_results",
    "summarize",
    "summarize_environments",
    "worst_accuracy",
]
