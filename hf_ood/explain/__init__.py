"""What a model looks at, and how much of it is the digit."""

from .digit_share import Attributions, attribute, attribution_report, digit_mask, digit_share, summarize
from .grad_cam import grad_cam
from .layers import default_layer, find_layer

__all__ = [
    "Attributions",
    "attribute",
    "attribution_report",
    "default_layer",
    "digit_mask",
    "digit_share",
    "find_layer",
    "grad_cam",
    "summarize",
]
