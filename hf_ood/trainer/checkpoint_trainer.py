"""`Trainer` that logs by environment, stops when the loss breaks, and resumes from whole checkpoints only."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import Trainer

from ..objectives import Objective
from .checkpoints import last_whole_checkpoint, load_objective, require_whole, save_objective
from .record import NonFiniteLossError, TrainingRecord
from .renamed_weights import has_other_names, load_by_from_pretrained


class CheckpointTrainer(Trainer):
    """Checkpoints hold the objective's state, and none is written after the loss has become infinite."""

    objective: Objective
    record: TrainingRecord
    model: nn.Module

    def _add_over_processes(self, tensor: Tensor) -> Tensor:
        return (
            self.accelerator.reduce(tensor, reduction="sum") if self.accelerator.num_processes > 1 else tensor
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            self._require_finite()
            logs = {**logs, **self.record.logs(self._add_over_processes)}
            self.record.reset()
        super().log(logs, start_time)

    def _require_finite(self) -> None:
        broken = self.record.broken_environments(self._add_over_processes)
        if broken:
            checkpoint = last_whole_checkpoint(str(self.args.output_dir))
            way_out = f"resume with --resume_from_checkpoint {checkpoint}" if checkpoint else "start again"
            raise NonFiniteLossError(
                f"The loss is no longer finite (noticed at step {self.state.global_step}), first in "
                f"environment {', '.join(broken)}. No checkpoint was written since. Lower the learning rate "
                f"or the penalty's weight, or set max_grad_norm, and {way_out}."
            )

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # Trainer would walk all parameters at every step for a number nobody reads

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer.train`; `resume_from_checkpoint=True` takes the latest checkpoint that is whole."""
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_whole_checkpoint(str(self.args.output_dir))
            if resume_from_checkpoint is None:
                raise ValueError(f"There is no whole checkpoint in {self.args.output_dir} to resume from.")
        elif resume_from_checkpoint:
            require_whole(resume_from_checkpoint)
        self.record.reset()
        return super().train(resume_from_checkpoint or None, *args, **kwargs)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self._require_finite()
        super()._save_checkpoint(*args, **kwargs)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            save_objective(self.objective, output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if model is None and has_other_names(self.model, resume_from_checkpoint):
            load_by_from_pretrained(self.model, resume_from_checkpoint)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        best = str(self.state.best_model_checkpoint)
        if has_other_names(self.model, best):
            load_by_from_pretrained(self.model, best)
        else:
            super()._load_best_model()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            load_objective(self.objective, checkpoint)
