"""`Trainer` whose evaluations, checkpoints and end are of averaged weights, where there is an averaging."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..averaging import Averaging
from ..averaging.base import averaged_tensors, prefixed, put, unprefixed
from .checkpoints import AVERAGING_FILE
from .ood_config import OODConfig


class AveragingTrainer(Trainer):
    """Keeps the average of the weights beside them.

    While training, the average is swapped in for every evaluation and for the weights of every checkpoint,
    so the best checkpoint holds an average. The weights as they are and the averaging's state lie beside it
    in the checkpoint, and resuming goes on from these. At the end the average replaces the weights, unless
    the best checkpoint was loaded. All processes average the same weights and need not talk about it.
    """

    averaging: Averaging | None = None
    args: OODConfig
    model: nn.Module

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.averaging is None:
            return
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                f"{self.averaging.name} averages whole weights, but FSDP and DeepSpeed divide them over "
                "processes: use DDP, or leave it out."
            )
        if self.averaging.needs_validation and not self._validates():
            raise ValueError(
                f"{self.averaging.name} goes by the validation loss: give an eval_dataset with a "
                "'validation' set, and eval_strategy 'steps' or 'epoch'."
            )
        if self.averaging.selection:
            self.args.load_best_model_at_end = False
        self.add_callback(_Averages(self.averaging))

    def _validates(self) -> bool:
        evaluated = self.eval_dataset if isinstance(self.eval_dataset, dict) else {}
        return "validation" in evaluated and self.args.eval_strategy != "no"

    @property
    def selection(self) -> str:
        """The rule that chose the final weights, in words."""
        return (self.averaging.selection if self.averaging else "") or self.args.selection

    @contextmanager
    def _average_swapped_in(self) -> Iterator[None]:
        """The model with averaged weights, if it is training and there are any."""
        average = self.averaging.average if self.averaging is not None and self.is_in_train else {}
        with torch.no_grad():
            own = {name: value.clone() for name, value in averaged_tensors(self.model).items() if average}
            put(average, self.model)
        try:
            yield
        finally:
            with torch.no_grad():
                put(own, self.model)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        with self._average_swapped_in():
            return super().evaluation_loop(*args, **kwargs)

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        with self._average_swapped_in():
            super().save_model(*args, **kwargs)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        if self.averaging is not None:
            self.averaging.reset()
        return super().train(*args, **kwargs)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.averaging is not None and self.args.should_save:
            own = prefixed("own", averaged_tensors(self.model))
            state = own | prefixed("state", self.averaging.state_dict())
            save_file(
                {name: value.contiguous() for name, value in state.items()},
                Path(output_dir) / AVERAGING_FILE,
                metadata={"averaging": self.averaging.name},
            )

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.averaging is None or checkpoint is None:
            return
        file = Path(checkpoint) / AVERAGING_FILE
        if not file.exists():
            raise ValueError(
                f"{checkpoint} holds no {AVERAGING_FILE}: it was not trained with {self.averaging.name}. "
                "Start again, or resume without it."
            )
        state = {name: value.to(self.args.device) for name, value in load_file(file).items()}
        with torch.no_grad():
            put(unprefixed("own", state), self.model)
        self.averaging.load_state_dict(unprefixed("state", state))


class _Averages(TrainerCallback):
    """Tells the averaging of every step and every validation, and ends with what it gives."""

    def __init__(self, averaging: Averaging):
        self.averaging = averaging

    @torch.no_grad()
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.averaging.update(averaged_tensors(kwargs["model"]), state.global_step, state.max_steps)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if "eval_validation_loss" in kwargs["metrics"]:
            self.averaging.evaluated(kwargs["metrics"]["eval_validation_loss"])

    @torch.no_grad()
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not (args.load_best_model_at_end and state.best_model_checkpoint):
            put(self.averaging.final, kwargs["model"])
