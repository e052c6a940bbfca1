"""`Trainer` that lets an update decide along which gradient the optimizer moves the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..data import EnvironmentDataset
from ..mixing import Mixing
from ..objectives import Objective
from ..updates import Update
from .checks import check_environments, check_update
from .ood_config import OODConfig
from .record import TrainingRecord
from .step import OptimizerStep
from .window import StepWindow


class UpdateTrainer(Trainer):
    """Hands an update all micro-batches of an optimizer step at the last of them; without one it is
    `Trainer`.

    The optimizer's own part stays `Trainer`'s: clipping, mixed precision, schedule, logs, checkpoints.
    """

    update: Update | None = None
    objective: Objective
    mixing: Mixing | None
    args: OODConfig
    record: TrainingRecord
    train_dataset: EnvironmentDataset | None
    environment_names: list[str]
    _optimizer_step: OptimizerStep | None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.update is None:
            return
        check_update(self.update, self.objective, self.mixing, self.args, self.accelerator.distributed_type)
        if self.train_dataset is not None:
            check_environments(self.train_dataset, self.update)
        self.add_callback(_AfterOptimizerStep(self.update))

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        step = self._optimizer_step or OptimizerStep([inputs])
        if step.position == 0:
            self.begin_step()
        if self.update is None:
            return super().training_step(model, inputs, num_items_in_batch)
        step.position += 1
        if step.position < len(step.batches):
            return torch.zeros((), device=self.args.device)
        window = StepWindow(self, model, step.batches)
        direction = self.update(window)
        window.leave(direction.gradient)
        self.record.add_step({**window.parts, **direction.parts})
        return direction.loss

    def begin_step(self) -> None:
        """What happens once per optimizer step, before anything else."""


class _AfterOptimizerStep(TrainerCallback):
    """Lets an update finish what the optimizer did to the weights."""

    def __init__(self, update: Update):
        self.update = update

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.update.after_step()
