"""What one sample costs, beneath every objective. A new one is one file here, and its name in `LOSSES`."""

from .base import SampleLoss
from .binary_cross_entropy import BinaryCrossEntropy
from .cross_entropy import CrossEntropy
from .focal import Focal
from .for_labels import loss_for
from .huber import Huber
from .ldam import LDAM
from .logit_adjusted import LogitAdjusted
from .squared_error import SquaredError

LOSSES: dict[str, type[SampleLoss]] = {
    cls.name: cls
    for cls in (CrossEntropy, Focal, LogitAdjusted, LDAM, BinaryCrossEntropy, SquaredError, Huber)
}

__all__ = [
    "LDAM",
    "LOSSES",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Focal",
    "Huber",
    "LogitAdjusted",
    "SampleLoss",
    "SquaredError",
    "loss_for",
]
