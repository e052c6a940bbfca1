"""How well a model will work where there are no labels yet: estimators, and intervals over environments."""

from .agreement import agreement_on_the_line
from .calibration import probabilities, temperature
from .confidence import calibrated_confidence, difference_of_confidences
from .expected import expected_measures
from .importance import importance_weighted_accuracy, importance_weighting, importance_weights
from .in_domain import in_domain_accuracy, leave_one_out_mean
from .nearest import Nearest, diversity, is_outside, nearest_environment
from .over_environments import Forecast, conformal, student
from .prediction_powered import PredictionPowered, prediction_powered, with_labels
from .threshold import average_thresholded_confidence
from .weighting import average, best, errors_of_rule

__all__ = [
    "Forecast",
    "Nearest",
    "PredictionPowered",
    "agreement_on_the_line",
    "average",
    "average_thresholded_confidence",
    "best",
    "calibrated_confidence",
    "conformal",
    "difference_of_confidences",
    "diversity",
    "errors_of_rule",
    "expected_measures",
    "importance_weighted_accuracy",
    "importance_weighting",
    "importance_weights",
    "in_domain_accuracy",
    "is_outside",
    "leave_one_out_mean",
    "nearest_environment",
    "prediction_powered",
    "probabilities",
    "student",
    "temperature",
    "with_labels",
]
