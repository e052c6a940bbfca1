"""What one sample costs, beneath every objective. A loss of one's own is a subclass of `SampleLoss`."""

from .base import SampleLoss
from .cross_entropy import CrossEntropy

__all__ = ["CrossEntropy", "SampleLoss"]
