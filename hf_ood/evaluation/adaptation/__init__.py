"""Adapting a trained network to the inputs of a target environment, whose labels nobody looks at."""

from .batch_norm import adapt_batch_norm
from .t3a import predict_t3a, t3a_logits
from .tent import adapt_tent

ADAPTATIONS = ("batch_norm", "t3a", "tent")
LABEL = "uses unlabelled target samples"

__all__ = ["ADAPTATIONS", "LABEL", "adapt_batch_norm", "adapt_tent", "predict_t3a", "t3a_logits"]
