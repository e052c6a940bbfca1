"""What fits a network's last linear layer on its features, in place of training it."""

from .l1_logistic import FittedLayer, L1Logistic

LAST_LAYERS: dict[str, type[L1Logistic]] = {L1Logistic.name: L1Logistic}

__all__ = ["LAST_LAYERS", "FittedLayer", "L1Logistic"]
