"""What a training saves and loads: averages, its method's state, a manifest; and only what is whole."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from torch import nn
from transformers.trainer_utils import rotate_checkpoints

from ..data import EnvironmentDataset
from ..disk import room_in
from ..engine import MethodTraining, Reduction
from .checkpoints import remove_from_step, require_whole_weights, save_manifest, save_state
from .data_identity import data_identity
from .environment_options import EnvironmentOptions
from .left_off import LEFT_OFF
from .nonfinite import non_finite_loss, require_finite_weights
from .resuming import Resuming
from .saved_size import size_of_state
from .weight_names import check_names, has_other_names, load_by_from_pretrained


class Checkpointing(Resuming):
    """Mixed in before a `Trainer`: its checkpoints."""

    model: nn.Module
    options: EnvironmentOptions
    reduction: Reduction
    training: MethodTraining
    training_rows: EnvironmentDataset

    def _require_finite(self) -> None:
        if self.training.record.is_broken(self.reduction):
            broken = self.training.record.broken_environments(self.reduction)
            raise non_finite_loss(self.state.global_step, broken, str(self.args.output_dir))

    def _averaged_weights(self) -> AbstractContextManager[None]:
        """While training, evaluations and checkpoints are of averaged weights, if there are any."""
        return self.training.averaged_weights() if self.is_in_train else nullcontext()

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        with self._averaged_weights():
            super().save_model(*args, **kwargs)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._require_finite()
        require_finite_weights(self.model, self.state.global_step, str(self.args.output_dir))
        folder = f"{self._get_output_dir(trial)}/checkpoint-{self.state.global_step}"
        if self.args.should_save:
            remove_from_step(self._get_output_dir(trial), self.state.global_step)
        self.accelerator.wait_for_everyone()
        limit = self.args.save_total_limit
        with room_in(folder, size_of_state(self.model, self.optimizer), remove=folder):
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self.args.save_total_limit = limit
            self.accelerator.wait_for_everyone()
            left_off = self.left_off().as_json()
            if self.args.should_save:
                about = {"data": data_identity(self.training_rows), LEFT_OFF: left_off}
                save_manifest(self.training.stateful, folder, about)
        if self.args.should_save:
            rotate_checkpoints(
                output_dir=self._get_output_dir(trial),
                save_total_limit=limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
            )

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        save_state(self.training.stateful, output_dir, self.args.should_save)
        self.args.save_total_limit = None  # an earlier checkpoint goes when this one is whole

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if model is None and has_other_names(self.model, resume_from_checkpoint):
            load_by_from_pretrained(self.model, resume_from_checkpoint, self.options.accept_missing_keys)
        else:
            if model is None:
                check_names(self.model, resume_from_checkpoint, self.options.accept_missing_keys)
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        best = str(self.state.best_model_checkpoint)
        require_whole_weights(Path(best))
        if has_other_names(self.model, best) or self.is_distributed_loading_by_transformers:
            load_by_from_pretrained(self.model, best)
        else:
            super()._load_best_model()
