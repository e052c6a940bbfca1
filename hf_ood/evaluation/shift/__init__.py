"""How far, and in which way, one split of a data set has moved away from another."""

from .encoders import CheckpointEncoder, Encoder, PixelEncoder
from .measure import ESTIMATORS, Measure, Shift, measure_environment_shifts, measure_shift

__all__ = [
    "ESTIMATORS",
    "CheckpointEncoder",
    "Encoder",
    "Measure",
    "PixelEncoder",
    "Shift",
    "measure_environment_shifts",
    "measure_shift",
]
