"""What one sample costs, beneath every objective. A loss of one's own is a subclass of `SampleLoss`."""

from .base import SampleLoss
from .binary_cross_entropy import BinaryCrossEntropy
from .cross_entropy import CrossEntropy
from .for_labels import loss_for

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "SampleLoss", "loss_for"]
