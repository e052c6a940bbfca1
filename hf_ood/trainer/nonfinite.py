"""What is said when a number is not finite any more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data import EnvironmentDataset
from ..engine import NonFiniteLossError, Reduction, is_sharded, own_part
from .checkpoints import last_whole_checkpoint


def non_finite_loss(step: int, environments: Sequence[str], output_dir: str) -> NonFiniteLossError:
    where = f"first in environment {', '.join(environments)}" if environments else "in the objective"
    return NonFiniteLossError(
        f"The loss is no longer finite (noticed at step {step}), {where}. No checkpoint was written since. "
        f"Lower the learning rate or the penalty's weight, or set max_grad_norm, and {_way_on(output_dir)}."
    )


def require_finite_weights(model: nn.Module, step: int, output_dir: str) -> None:
    """Raise `NonFiniteLossError` where a weight is not finite; all processes that share the weights do."""
    parts = [own_part(parameter.detach()) for parameter in model.parameters()]
    broken = torch.stack([(~part.isfinite()).any().float() for part in parts]).sum() if parts else None
    if broken is not None and is_sharded(model):
        broken = Reduction.over_processes().add(broken)
    if broken:
        raise NonFiniteLossError(
            f"The last step left weights that are not finite (noticed at step {step}). Lower the learning "
            f"rate or the penalty's weight, or set max_grad_norm, and {_way_on(output_dir)}."
        )


def require_finite_logits(predictions: Any, rows: Any, output_dir: str) -> None:
    """Raise `NonFiniteLossError` where logits [N, ...] are not finite; `rows`: the data set they are of."""
    if not isinstance(predictions, np.ndarray) or not np.issubdtype(predictions.dtype, np.floating):
        return
    bad = np.atleast_1d(~np.isfinite(predictions.reshape(len(predictions), -1)).all(1))
    if not bad.any():
        return
    where = ""
    if isinstance(rows, EnvironmentDataset) and len(rows) == len(bad):
        names = [rows.environment_names[number] for number in np.unique(rows.environments.numpy()[bad])]
        where = f", in environment {', '.join(names)}"
    raise NonFiniteLossError(
        f"The model's logits are not finite for {bad.sum()} samples{where}: there is nothing to measure. "
        f"Look at these inputs, or {_way_on(output_dir)}."
    )


def require_finite_evaluation(name: str, loss: float | None, output_dir: str) -> None:
    """Raise `NonFiniteLossError` where the loss of an evaluation is not finite."""
    if loss is not None and not math.isfinite(loss):
        raise NonFiniteLossError(
            f"{name} is not finite: there is nothing to choose by. Look at the inputs (predict names their "
            f"environment), or {_way_on(output_dir)}."
        )


def _way_on(output_dir: str) -> str:
    checkpoint = last_whole_checkpoint(output_dir)
    return f"resume with --resume_from_checkpoint {checkpoint}" if checkpoint else "start again"
