"""Layers whose statistics run along with the training."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The model's batch normalisations that keep running statistics."""
    return [
        module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
