"""Where in Trainer's loop a checkpoint was written: what weights, counters and the log do not tell."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerState, TrainingArguments

from ..manifest import read_manifest

LEFT_OFF = "left_off"  # its key in a checkpoint's manifest


@dataclass(frozen=True)
class LeftOff:
    """`epoch_ended`: the epoch's own evaluation and log came before the checkpoint. `stopped`: the training
    was to end here, though not for its `max_steps`. `logged_step`: of the last log entry; `logged_loss` and
    `waiting_loss` (of each process): the losses in the log and since. `grad_norm`, `learning_rate`: of the
    last step. `batch`: samples of an optimizer step over all processes; `steps_per_epoch`: such steps."""

    epoch_ended: bool
    stopped: bool
    max_steps: int
    logged_step: int
    logged_loss: float = 0.0
    waiting_loss: tuple[float, ...] = (0.0,)
    grad_norm: float | None = None
    learning_rate: float | None = None
    batch: int | None = None
    steps_per_epoch: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Numbers that JSON does not have are left out."""
        return {
            key: value
            for key, value in asdict(self).items()
            if not isinstance(value, float) or math.isfinite(value)
        }


def left_off_at(checkpoint: str | Path, args: TrainingArguments, state: TrainerState) -> LeftOff:
    """What the checkpoint says; of one of an earlier version, what can be told from the arguments."""
    found = (read_manifest(Path(checkpoint)) or {}).get(LEFT_OFF)
    if found is not None:
        return LeftOff(**{**found, "waiting_loss": tuple(found["waiting_loss"])})
    by_epoch = str(getattr(args.save_strategy, "value", args.save_strategy)) == "epoch"
    return LeftOff(by_epoch, False, state.max_steps, state.global_step)


def refuse_other_batches(checkpoint: str | Path, left_off: LeftOff, batch: int, steps_per_epoch: int) -> None:
    """Raise `ValueError` where a step of now holds other samples than the checkpoint's did."""
    if left_off.batch is not None and left_off.batch != batch:
        raise ValueError(
            f"{checkpoint} was trained with {left_off.batch} samples a step, over all processes and "
            f"accumulated micro-batches, and now there would be {batch}: choose per_device_train_batch_size "
            f"x gradient_accumulation_steps x number of processes to be {left_off.batch}, or start over."
        )
    if left_off.steps_per_epoch is not None and left_off.steps_per_epoch != steps_per_epoch:
        raise ValueError(
            f"{checkpoint} was trained with {left_off.steps_per_epoch} steps an epoch, and now there would "
            f"be {steps_per_epoch}: divide the {batch} samples of a step as before (processes, "
            "per_device_train_batch_size, gradient_accumulation_steps, dataloader_drop_last), or start over."
        )
