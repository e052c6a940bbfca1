"""Layers whose statistics run along with the training."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The model's batch normalisations that keep running statistics.

    While training they normalise by the mean and variance of one micro-batch on one process, over all its
    environments together: a sample's output depends on the environments beside it, and to divide a batch over
    processes or accumulation steps changes the network (not how an objective adds up). Running statistics
    follow that mixture, on the first process of several, and serve every environment in evaluation.
    """
    return [
        module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats
    ]
