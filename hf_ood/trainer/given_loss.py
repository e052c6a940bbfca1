"""Losses that come from the user: `compute_loss_func`, or a trainer's own way to its samples' losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from ..methods.objectives import Outputs
from ..methods.objectives.functional import at_least_float32
from ..models.modes import evaluation_mode

PerSample = tuple[Tensor, Tensor, Tensor]
HOOK = (
    "per_sample(self, model, inputs) -> losses [B], logits, environments [B] (inputs['environment']; losses "
    "are computed from the logits)"
)


def check_base(trainer: Trainer, base_compute_loss: Any, per_sample: Any) -> None:
    """Raise `TypeError` where the trainer below has a loss of its own that is only known as a number."""
    if per_sample is None and getattr(base_compute_loss, "__func__", None) is not Trainer.compute_loss:
        owner = base_compute_loss.__qualname__.split(".")[0]
        raise TypeError(
            f"{owner} computes a loss of its own, of which only the mean over a batch is seen, and an "
            f"objective needs every sample's: give {type(trainer).__name__} a method {HOOK}."
        )


def check_applied(trainer: str, times: int) -> None:
    """Raise `TypeError` where a training step came to its end without the objective."""
    if times == 0:
        raise TypeError(
            f"{trainer}.compute_loss never came to EnvironmentTrainer's, which applies the objective: let "
            "EnvironmentTrainer be the first of the bases (class MyEnvironmentTrainer(EnvironmentTrainer, "
            f"MyTrainer)) and give the class a method {HOOK}; or call super().compute_loss."
        )


def own_losses(
    compute_loss_func: Callable[..., Tensor], outputs: Any, labels: Tensor
) -> tuple[Tensor, Tensor]:
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
            f"compute_loss_func gave {shape} for {len(labels)} samples, and an objective needs the loss of "
            f"each: return [{len(labels)}] losses (reduction='none'), not their mean."
        )
    return outputs.logits, at_least_float32(losses)


def try_losses(
    outputs: Callable[[nn.Module, Mapping[str, Any]], Outputs], model: nn.Module, inputs: Any
) -> None:
    """Look at a few samples; raise `ValueError` where what they give is no loss of each sample."""
    with evaluation_mode(model), torch.enable_grad(), torch.random.fork_rng():
        found = outputs(model, inputs)
        count = len(inputs["environment"])
        for name, value in (("losses", found.losses), ("environments", found.environments)):
            if value.shape != (count,):
                raise ValueError(
                    f"per_sample gave {name} of shape {list(value.shape)} for {count} samples: return "
                    f"[{count}]."
                )
        if torch.autograd.grad(found.losses.sum(), found.logits, allow_unused=True)[0] is None:
            raise ValueError(
                "The losses do not depend on the logits beside them: per_sample must return the tensor that "
                "they were computed from, and compute_loss_func must use outputs.logits."
            )
