"""Losses that come from the user: `compute_loss_func`, or a trainer's own way to its samples' losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from ..models.modes import evaluation_mode
from ..objectives.functional import at_least_float32

PerSample = tuple[Tensor, Tensor, Tensor]
HOOK = (
    "per_sample(self, model, inputs) -> losses [B], logits, environments [B] (inputs['environment']; losses are "
    "computed from the logits)"
)


def check_base(trainer: Trainer, base_compute_loss: Any, per_sample: Any) -> None:
    """Raise `TypeError` where the trainer below has a loss of its own that is only known as a number."""
    if per_sample is None and getattr(base_compute_loss, "__func__", None) is not Trainer.compute_loss:
        owner = base_compute_loss.__qualname__.split(".")[0]
        raise TypeError(
            f"{owner} computes a loss of its own, of which only the sum over a batch is seen, and an objective "
            f"needs every sample's: give {type(trainer).__name__} a method {HOOK}."
        )


def own_losses(compute_loss_func: Callable[..., Tensor], outputs: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The logits and the losses [B] that `compute_loss_func(outputs, labels, num_items_in_batch=None)` gives.

    In a pass without graph the losses keep one to the logits, of which an objective may want slopes.
    """
    if not torch.is_grad_enabled():
        outputs.logits = outputs.logits.detach().requires_grad_()
    with torch.enable_grad():
        losses = compute_loss_func(outputs, labels, num_items_in_batch=None)
    if not isinstance(losses, Tensor) or losses.shape != labels.shape[:1]:
        shape = list(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(
            f"compute_loss_func gave {shape} for {len(labels)} samples, and an objective needs the loss of each: "
            f"return [{len(labels)}] losses (reduction='none'), not their mean."
        )
    return outputs.logits, at_least_float32(losses)


def try_per_sample(hook: Callable[..., PerSample], model: nn.Module, inputs: Mapping[str, Any]) -> None:
    """Run the hook on a few samples; raise `ValueError` where it does not give what it should."""
    with evaluation_mode(model), torch.enable_grad():
        losses, logits, environments = hook(model, dict(inputs))
    count = len(inputs["environment"])
    for name, value in (("losses", losses), ("environments", environments)):
        if not isinstance(value, Tensor) or value.shape != (count,):
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"per_sample gave {name} of shape {shape} for {count} samples: return [{count}].")
    if torch.autograd.grad(losses.sum(), logits, allow_unused=True, retain_graph=True)[0] is None:
        raise ValueError(
            "per_sample gave losses that do not depend on the logits beside them: return the tensor that the "
            "losses were computed from."
        )
